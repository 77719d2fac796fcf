/** What scripts print and how they end: data, so that every kernel can run it. Test-only. */

export interface ShellCase {
  readonly script: string;
  readonly stdout?: string;
  readonly status?: number;
  readonly stderr?: string | RegExp;
  readonly stdin?: string;
}

export const SHELL_CASES: Readonly<Record<string, ShellCase>> = {
  "words are separated by blanks and quotes keep them": {
    script: `echo a   b 'c  d' "e  f" g\\ h`,
    stdout: "a b c  d e  f g h\n",
  },
  "a comment ends at the line": { script: "echo a # b\necho c#d", stdout: "a\nc#d\n" },
  "single quotes keep everything": { script: `echo '$x \\ "'`, stdout: '$x \\ "\n' },
  "double quotes expand and escape": { script: `x=1; echo "$x \\$x \\" \\a"`, stdout: '1 $x " \\a\n' },
  "dollar-single quotes have escapes": { script: `printf %s $'a\\tb\\x41'`, stdout: "a\tbA" },
  "adjacent parts are one word": { script: `x=b; echo a"$x"'c'd`, stdout: "abcd\n" },
  "a line goes on after a backslash": { script: "echo a \\\n b", stdout: "a b\n" },

  "an unset parameter is empty": { script: `echo "[$nope]"`, stdout: "[]\n" },
  "default values": { script: `x=; echo \${x-a} \${x:-b} \${y-c} \${y:-d}`, stdout: "b c d\n" },
  "alternative values": {
    script: `x=1; e=; echo [\${x+a}] [\${e+b}] [\${e:+c}] [\${n+d}]`,
    stdout: "[a] [b] [] []\n",
  },
  "assigned default": { script: `echo \${x:=v}; echo $x`, stdout: "v\nv\n" },
  "an error for an unset parameter ends a script": {
    script: `: \${x:?no value}; echo not reached`,
    status: 2,
    stderr: /x: no value/,
  },
  length: { script: `x=hello; echo \${#x}; set -- a b c; echo \${#} $#`, stdout: "5\n3 3\n" },
  "prefixes are removed": { script: `x=/a/b/c; echo \${x#*/} \${x##*/}`, stdout: "a/b/c c\n" },
  "suffixes are removed": { script: `x=a.tar.gz; echo \${x%.*} \${x%%.*}`, stdout: "a.tar a\n" },
  "a quoted pattern is literal": { script: `x='*a'; echo \${x#"*"} \${x#\\*}`, stdout: "a a\n" },
  "nested expansion": { script: `x=; y=z; echo \${x:-\${y:-w}}`, stdout: "z\n" },
  "quotes in a word of an expansion": { script: `echo "\${x:-a 'b' "c d"}"`, stdout: "a 'b' c d\n" },
  "positional parameters": {
    script: `set -- a 'b c' d; echo $1 $2 $# "$*" \${3}`,
    stdout: "a b c 3 a b c d d\n",
  },
  '"$@" keeps fields': {
    script: `set -- a 'b c' ''; for i in "$@"; do echo "[$i]"; done`,
    stdout: "[a]\n[b c]\n[]\n",
  },
  '"$@" without parameters is no field': {
    script: `set --; for i in "$@"; do echo x; done; echo "[$*]"`,
    stdout: "[]\n",
  },
  '"$@" with text around': { script: `set -- a b; printf '<%s>' "x$@y"`, stdout: "<xa><by>" },
  '"$*" is joined by IFS': { script: `IFS=,; set -- a b c; echo "$*"`, stdout: "a,b,c\n" },
  shift: { script: `set -- a b c; shift; echo $1; shift 2; echo $#`, stdout: "b\n0\n" },
  "fields are split by IFS": { script: `x='a  b	c'; for i in $x; do echo $i; done`, stdout: "a\nb\nc\n" },
  "other IFS characters make empty fields": {
    script: `IFS=:; x=a::b:; for i in $x; do echo "[$i]"; done`,
    stdout: "[a]\n[]\n[b]\n",
  },
  "an empty expansion is no field": { script: `x=; set -- $x a; echo $#`, stdout: "1\n" },
  "a backslash in a value is kept": { script: `x='a\\b'; echo $x`, stdout: "a\\b\n" },
  "assignments are not split": { script: `x='a  b'; y=$x; echo "$y"`, stdout: "a  b\n" },
  tilde: {
    script: `HOME=/h; echo ~ ~/x "~" a~; x=~/y:~; echo $x ~root`,
    stdout: "/h /h/x ~ a~\n/h/y:/h /root\n",
  },

  "command substitution drops last newlines": {
    script: `x=$(printf 'a\\n\\n'); echo "[$x]"`,
    stdout: "[a]\n",
  },
  "substitutions nest": { script: `echo $(echo $(echo a; echo b))`, stdout: "a b\n" },
  "backquotes nest by backslash": { script: "echo `echo \\`echo x\\``", stdout: "x\n" },
  "the status of a substitution": { script: `x=$(exit 3); echo $?`, stdout: "3\n" },
  "a substitution does not change the shell": {
    script: `x=1; y=$(x=2; cd /etc; echo $x); echo $x $y; pwd`,
    stdout: "1 2\n/\n",
  },
  "a parenthesis in a substitution's case": {
    script: `echo $(case a in a) echo yes;; esac)`,
    stdout: "yes\n",
  },
  arithmetic: {
    script: `x=5; echo $((x * 2 + (3 - 1) % 2)) $((1 << 4 | 1)) $((7 / 2)) $((-7 / 2))`,
    stdout: "10 17 3 -3\n",
  },
  "arithmetic assigns": {
    script: `i=1; : $((i += 4)) $((j = i++)); echo $i $j $((i > 5 ? 1 : 0))`,
    stdout: "6 5 1\n",
  },
  "arithmetic is 64 bits": {
    script: `echo $((9223372036854775807 + 1)) $((0x10)) $((010))`,
    stdout: "-9223372036854775808 16 8\n",
  },
  "arithmetic does not divide by zero": { script: `echo $((1 / 0))`, status: 2, stderr: /divide by zero/ },
  "logic short-cuts": { script: `echo $((0 && 1 / 0)) $((1 || 1 / 0))`, stdout: "0 1\n" },

  pathnames: {
    script: `mkdir d; cd d; touch a.c b.c .h; echo *.c [!a]* ?.c *.x .h*`,
    stdout: "a.c b.c b.c a.c b.c *.x .h\n",
  },
  "a quoted pattern does not glob": { script: `touch a; echo "*" \\*`, stdout: "* *\n" },
  "set -f turns globbing off": { script: `set -f; echo /etc/pass*`, stdout: "/etc/pass*\n" },
  "patterns across directories": {
    script: `mkdir -p d/e f/e; touch d/e/x f/e/x; echo */e/x`,
    stdout: "d/e/x f/e/x\n",
  },

  "and, or, not": {
    script: `true && echo a || echo b; false && echo c || echo d; ! true || echo e`,
    stdout: "a\nd\ne\n",
  },
  "and and or have one precedence": { script: `true || echo no && echo yes`, stdout: "yes\n" },
  "a pipeline": { script: `printf 'b\\na\\n' | sort | head -n 1`, stdout: "a\n" },
  "the status of a pipeline is its last command's": {
    script: `false | true; echo $?; true | false; echo $?`,
    stdout: "0\n1\n",
  },
  "stages are subshells": { script: `x=1; echo 2 | read x; echo $x`, stdout: "1\n" },
  "a subshell keeps changes to itself": {
    script: `x=1; (x=2; cd /etc; umask 077; exit 3); echo $? $x; pwd; umask`,
    stdout: "3 1\n/\n0022\n",
  },
  "a group changes the shell": { script: `{ x=2; }; echo $x`, stdout: "2\n" },
  "if, elif, else": {
    script: `for i in 1 2 3; do if [ $i = 1 ]; then echo a; elif [ $i = 2 ]; then echo b; else echo c; fi; done`,
    stdout: "a\nb\nc\n",
  },
  "while and until": {
    script: `i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i; until [ $i = 0 ]; do i=$((i-1)); done; echo $i`,
    stdout: "3\n0\n",
  },
  "break and continue": {
    script: `for i in 1 2 3 4; do [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done`,
    stdout: "1\n3\n",
  },
  "break leaves several loops": {
    script: `for i in 1 2; do for j in 1 2; do echo $i$j; break 2; done; done; echo end`,
    stdout: "11\nend\n",
  },
  "for without words": { script: `set -- a b; for i; do echo $i; done`, stdout: "a\nb\n" },
  case: {
    script: `for i in a bc 'x*' z; do case $i in a|b) echo 1;; b*) echo 2;; 'x*') echo 3;; *) echo 4; esac; done`,
    stdout: "1\n2\n3\n4\n",
  },
  "case with a variable pattern": {
    script: `p='a*'; case abc in "$p") echo literal;; $p) echo pattern;; esac`,
    stdout: "pattern\n",
  },
  "functions have parameters and return": {
    script: `f() { echo $1 $#; return 3; }; f a b; echo $?; set -- z; f x; echo $1`,
    stdout: "a 2\n3\nx 1\nz\n",
  },
  "functions recurse": {
    script: `f() { if [ $1 -le 1 ]; then echo 1; else echo $(($1 * $(f $(($1 - 1))))); fi; }; f 5`,
    stdout: "120\n",
  },
  "local variables": { script: `x=1; f() { local x=2; echo $x; }; f; echo $x`, stdout: "2\n1\n" },
  "a function may be redirected": { script: `f() { echo out; } >/tmp/f; f; cat /tmp/f`, stdout: "out\n" },
  "a group in the background": { script: `{ echo a; } & wait; echo b`, stdout: "a\nb\n" },
  "an assignment before a command is the command's": {
    script: `x=1; x=2 sh -c 'echo $x'; echo $x`,
    stdout: "2\n1\n",
  },
  "only exported variables are inherited": {
    script: `a=1; export b=2; sh -c 'echo [$a] [$b]'`,
    stdout: "[] [2]\n",
  },

  "output to a file, appending, and input": {
    script: `echo a >f; echo b >>f; cat <f; cat <f | wc -l`,
    stdout: "a\nb\n2\n",
  },
  "descriptors are duplicated and closed": {
    script: `sh -c 'echo out; echo err >&2' 2>&1 >/dev/null | cat; echo x 3>&1 >&3`,
    stdout: "err\nx\n",
  },
  "redirections apply in order": { script: `{ echo a; echo b >&2; } >f 2>&1; cat f`, stdout: "a\nb\n" },
  "exec keeps redirections": {
    script: `exec 3>f; echo a >&3; exec 3>&-; cat f; echo b >&3`,
    stdout: "a\n",
    status: 1,
    stderr: /3: Bad file descriptor/,
  },
  noclobber: {
    script: `echo a >f; set -C; echo b >f; cat f; echo c >|f; cat f`,
    stdout: "a\nc\n",
    stderr: /cannot create f: File exists/,
  },
  "a here-document expands": {
    script: "x=1; cat <<E\na $x $((x+1)) `echo b` \\$x\nE",
    stdout: "a 1 2 b $x\n",
  },
  "cat passes on what it has read before it waits for more": {
    script: `for how in '' -n; do (echo a; sleep 9; echo b >f) | cat $how | { read x; test -e f || echo "early: $x"; }; rm -f f; done`,
    stdout: "early: a\nearly: 1\ta\n",
  },
  "a quoted here-document does not": { script: "cat <<'E'\n$x `b`\nE", stdout: "$x `b`\n" },
  "<<- strips tabs": { script: "cat <<-E\n\ta\n\t\tb\n\tE", stdout: "a\nb\n" },
  "two here-documents on a line": { script: "cat <<A; cat <<B\n1\nA\n2\nB", stdout: "1\n2\n" },
  "a here-document in a loop": { script: "for i in 1 2; do cat <<E\n$i\nE\ndone", stdout: "1\n2\n" },
  "a redirection that fails": {
    script: `cat </nope; echo $?`,
    stdout: "1\n",
    stderr: "sh: /nope: No such file or directory\n",
  },

  "a command that is not there": {
    script: `nope; echo $?`,
    stdout: "127\n",
    stderr: "sh: nope: not found\n",
  },
  "a file that is not executable": {
    script: `echo x >f; ./f; echo $?`,
    stdout: "126\n",
    stderr: "sh: ./f: Permission denied\n",
  },
  "a script without #!": { script: `echo 'echo script $1' >f; chmod +x f; ./f arg`, stdout: "script arg\n" },
  "a script with #!": {
    script: `printf '#!/bin/sh -e\\necho $- $1\\nfalse\\necho no\\n' >f; chmod +x f; ./f a`,
    stdout: "e a\n",
    status: 1,
  },
  "exit gives the status": { script: `exit 7`, status: 7 },
  "a signal's status": { script: `sh -c 'kill -9 $$'; echo $?`, stdout: "137\n", stderr: "Killed\n" },
  "set -e ends at a failure": { script: `set -e; echo a; false; echo b`, stdout: "a\n", status: 1 },
  "set -e ignores what is tested": {
    script: `set -e; if false; then :; fi; false || true; ! true; while false; do :; done; echo end`,
    stdout: "end\n",
  },
  "set -u refuses unset parameters": {
    script: `set -u; echo $nope; echo no`,
    status: 2,
    stderr: /nope: parameter not set/,
  },
  "set -x traces": { script: `set -x; x=1 echo 'a b'`, stdout: "a b\n", stderr: "+ x=1 echo 'a b'\n" },
  eval: { script: `x='echo $y'; y=1; eval $x; eval "z=2;" echo '$z'`, stdout: "1\n2\n" },
  "dot reads a file": { script: `echo 'x=5; return 3; x=6' >f; . ./f; echo $? $x`, stdout: "3 5\n" },
  "dot ends the shell where there is no file": {
    script: `. ./nope; echo no`,
    status: 2,
    stderr: "sh: .: ./nope: No such file or directory\n",
  },
  "return ends a subshell, a substitution, a stage and a script": {
    script: `f() { (return 4; echo no); echo $?; }; f; x=$(return 6; echo no); echo $? $x; true | return 7; echo $?; return 8; echo no`,
    stdout: "4\n6\n7\n",
    status: 8,
  },
  "jobs in a substitution are the shell's": {
    script: `sleep 100 & sleep 200 & kill $(jobs -p); wait; jobs`,
  },
  "a text without bound ends the shell": {
    script: `x=aaaaaaaaaaaaaaaa; i=0; while [ $i -lt 40 ]; do x=$x$x; i=$((i+1)); done; echo no`,
    status: 2,
    stderr: "sh: Out of space\n",
  },
  "there may be more words than a function of the host has arguments": {
    script: `x=aaaaaaaaa\\ ; i=0; while [ $i -lt 16 ]; do x=$x$x; i=$((i+1)); done; set -- $x $x $x; echo $#; echo "$@" | wc -w; echo /dev/nul[l] $x | wc -w`,
    stdout: "196608\n196608\n65537\n",
  },
  "a program that cannot be executed gives 126": {
    script: `x=$(printf '%0150000d' 1); env $x; echo $?`,
    stdout: "126\n",
    stderr: "sh: env: Argument list too long\n",
  },
  "trap EXIT": { script: `trap 'echo bye $?' EXIT; exit 4`, stdout: "bye 4\n", status: 4 },
  "trap of a signal": { script: `trap 'echo got' USR1; kill -USR1 $$; echo after`, stdout: "got\nafter\n" },
  "names and numbers of signals": {
    script: `kill -l 9 137 USR1 TERM 999; echo $?`,
    stdout: "KILL\nKILL\n10\n15\n1\n",
    stderr: /kill: 999: invalid signal specification/,
  },
  "an ignored signal": { script: `trap '' TERM; kill $$; echo alive`, stdout: "alive\n" },
  "traps are listed": { script: `trap 'echo x' INT; trap`, stdout: "trap -- 'echo x' INT\n" },
  "a subshell resets traps": {
    script: `trap 'echo got' EXIT; (echo sub); echo main`,
    stdout: "sub\nmain\ngot\n",
  },
  "read splits": { script: `echo ' a  b c ' | { read x y; echo "[$x][$y]"; }`, stdout: "[a][b c]\n" },
  "read -r keeps backslashes": { script: `printf 'a\\\\b\\n' | { read -r x; echo "$x"; }`, stdout: "a\\b\n" },
  "read in a loop": {
    script: `printf '1 a\\n2 b\\n' | while read n c; do echo $c$n; done`,
    stdout: "a1\nb2\n",
  },
  "read leaves the rest": { script: `printf 'a\\nb\\n' | { read x; cat; }`, stdout: "b\n" },
  readonly: { script: `readonly x=1; x=2; echo no`, status: 2, stderr: /x: is read only/ },
  unset: {
    script: `x=1; unset x; echo [$x]; f() { :; }; unset -f f; f`,
    stdout: "[]\n",
    status: 127,
    stderr: /f: not found/,
  },
  "cd and pwd": {
    script: `mkdir -p a/b; cd a/b; pwd; cd ..; pwd; cd -; echo $OLDPWD`,
    stdout: "/a/b\n/a\n/a/b\n/a\n",
  },
  "cd to nowhere": {
    script: `cd /nope; echo $?`,
    stdout: "1\n",
    stderr: "sh: cd: /nope: No such file or directory\n",
  },
  getopts: {
    script: `set -- -a -b val -cx rest; while getopts ab:c:o o; do echo $o $OPTARG; done; shift $((OPTIND-1)); echo $1`,
    stdout: "a\nb val\nc x\nrest\n",
  },
  "getopts tells of a bad option": {
    script: `set -- -z; getopts a o; echo "$o"`,
    stdout: "?\n",
    stderr: "sh: illegal option -- z\n",
  },
  "aliases are replaced in the place of a command": {
    script: "alias e='echo x' p='e ' q=arg\ne y\np q\necho e\nalias e; unalias e\ne",
    stdout: "x y\nx arg\ne\ne='echo x'\n",
    status: 127,
    stderr: /e: not found/,
  },
  "an alias may hold its own name, and start a compound command": {
    script: "alias echo='echo a' each='for i in 1 2; do'\necho b; each echo $i; done",
    stdout: "a b\na 1\na 2\n",
  },
  "type and command": {
    script: `f() { :; }; type cd f cat if; command -v cat; command -v nope || echo none`,
    stdout:
      "cd is a shell builtin\nf is a function\ncat is /bin/cat\nif is a shell keyword\n/bin/cat\nnone\n",
  },
  "command skips functions": { script: `echo() { printf no; }; command echo yes`, stdout: "yes\n" },
  umask: {
    script: `umask 027; umask; umask -S; umask u=rwx,g=,o=; umask`,
    stdout: "0027\nu=rwx,g=rx,o=\n0077\n",
  },
  "background and wait": {
    script: `sh -c 'exit 5' & wait $!; echo $?; sleep 1 & wait; echo done`,
    stdout: "5\ndone\n",
  },
  "$! and $$": {
    script: `(exit 0) & [ $! -gt $$ ] && echo ok; [ $$ = $(echo $$) ] && echo same`,
    stdout: "ok\nsame\n",
  },
  jobs: {
    script: `sleep 5 & jobs; kill %1; wait %1; echo $?`,
    stdout: "[1]+  Running                 sleep 5 &\n143\n",
  },
  "a background command reads nothing": { script: `cat & wait; echo end`, stdin: "input", stdout: "end\n" },
  "SIGPIPE ends a writer quietly": { script: `yes | head -n 2; echo $?`, stdout: "y\ny\n0\n" },
  "a syntax error": { script: `echo a; fi`, status: 2, stderr: /syntax error: unexpected "fi"/ },
  "lines before a syntax error run": {
    script: "echo a\nfi\n",
    stdout: "a\n",
    status: 2,
    stderr: /syntax error/,
  },
  "an unterminated quote": { script: `echo "a`, status: 2, stderr: /unterminated quoted string/ },
  "commands from standard input": {
    script: `sh`,
    stdin: "echo a\nread x\nline\necho got $x\n",
    stdout: "a\ngot line\n",
  },
  "a program reads the rest of the input": { script: `sh`, stdin: "cat\nthe rest\n", stdout: "the rest\n" },
  LINENO: { script: "echo $LINENO\necho $LINENO", stdout: "1\n2\n" },
  "$0 and arguments of -c": { script: `sh -c 'echo $0 $1' name arg`, stdout: "name arg\n" },
  "a failed exec ends a script": { script: `exec nope; echo no`, status: 127, stderr: /nope: not found/ },
};
