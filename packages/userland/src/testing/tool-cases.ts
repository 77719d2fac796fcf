/** What the tools print: a script per case, and a few files that they work on. Data, so that every kernel can run it. Test-only. */

export const TOOL_FILES: Readonly<Record<string, string>> = {
  "/w/": "",
  "/w/abc": "alpha\nbeta\ngamma\n",
  "/w/dup": "a\na\nb\na\n",
  "/w/nums": "10\n9\n-1\n2.5\n",
  "/w/table": "x 3 b\ny 1 a\nz 2 c\n",
  "/w/csv": "a:1:x\nb:2:y\nno delimiter\n",
  "/w/none": "last line",
  "/w/d/": "",
  "/w/d/one.txt": "1\n",
  "/w/d/two.c": "int main;\n",
  "/w/d/sub/": "",
  "/w/d/sub/three.txt": "3\n",
};

/** [script, standard output, status, pattern of standard error] */
export type ToolCase = readonly [string, string, number?, RegExp?];

export const TOOL_CASES: readonly ToolCase[] = [
  ["cat abc none", "alpha\nbeta\ngamma\nlast line"],
  ["cat - <abc | head -n1", "alpha\n"],
  [
    "cat nope abc | head -n1; cat nope",
    "alpha\n",
    1,
    /^cat: nope: No such file or directory\ncat: nope: No such file or directory\n$/,
  ],
  ["cat -n abc | tail -n1; printf '\\n\\n\\nx\\n' | cat -sb", "     3\tgamma\n\n     1\tx\n"],
  ["printf 'a\\tb\\001\\n' | cat -A", "a^Ib^A$\n"],
  ["cat --number none", "     1\tlast line"],
  ["cat -Q", "", 1, /^cat: invalid option -- 'Q'\nUsage: cat /],
  ["cat --nope", "", 1, /^cat: unrecognized option '--nope'\nUsage: cat /],
  ["cat --help | head -c 10", "Usage: cat"],

  ["echo -n a; echo -e 'b\\tc'; echo '-n'", "ab\tc\n"],
  ["printf '%s-%d-%05.1f|%-4s|%4s|%x\\n' a 7 3.14159 ab cd 255", "a-7-003.1|ab  |  cd|ff\n"],
  ["printf '%s\\n' a b c", "a\nb\nc\n"],
  [
    "printf '%b|%c|%%|%o|%+d|%e|%g\\n' 'x\\ty' hello 8 5 1234.5 0.0001",
    "x\ty|h|%|10|+5|1.234500e+03|0.0001\n",
  ],
  ["printf %d abc", "0", 1, /expected a numeric value/],
  ["printf '%d %i\\n' 0x10 -3; printf '%*d|\\n' 5 42", "16 -3\n   42|\n"],

  ["ls", "abc\ncsv\nd\ndup\nnone\nnums\ntable\n"],
  ["ls -a d", ".\n..\none.txt\nsub\ntwo.c\n"],
  ["ls -F d; ls -pd d", "one.txt\nsub/\ntwo.c\nd/\n"],
  ["ls -R d", "d:\none.txt\nsub\ntwo.c\n\nd/sub:\nthree.txt\n"],
  ["touch -d @0 abc; ls -l abc", "-rw-r--r-- 1 root root 17 Jan  1  1970 abc\n"],
  [
    "touch -d @0 d; ls -ld d; ln -s abc l; ls -l l | cut -c-24",
    "drwxr-xr-x 3 root root 100 Jan  1  1970 d\nlrwxrwxrwx 1 root root 3\n",
  ],
  ["ls -S d | head -n1; ls -r d | head -n1; ls -x -C d", "sub\ntwo.c\none.txt  sub  two.c\n"],
  ["ls nope", "", 2, /^ls: cannot access 'nope': No such file or directory\n$/],
  ["ls --nope", "", 2, /^ls: unrecognized option '--nope'\nUsage: ls /],

  ["mkdir a b && ls -d a b; mkdir a", "a\nb\n", 1, /^mkdir: cannot create directory 'a': File exists\n$/],
  [
    "mkdir -pv a/b/c; mkdir -p a/b; mkdir -m 700 p; stat -c %a p",
    "mkdir: created directory 'a'\nmkdir: created directory 'a/b'\nmkdir: created directory 'a/b/c'\n700\n",
  ],
  ["mkdir -p a/b; rmdir -p a/b; ls -d a", "", 2, /cannot access 'a'/],
  ["rmdir d", "", 1, /^rmdir: failed to remove 'd': Directory not empty\n$/],
  ["mkdir", "", 1, /^mkdir: missing operand\nUsage: mkdir /],
  [
    "rm abc dup; ls; rm nope; rm -f nope",
    "csv\nd\nnone\nnums\ntable\n",
    0,
    /^rm: cannot remove 'nope': No such file or directory\n$/,
  ],
  ["rm d; rm -r d; ls -d d", "", 2, /^rm: cannot remove 'd': Is a directory\nls: cannot access 'd'/],
  ["rm -rv d/sub", "removed 'd/sub/three.txt'\nremoved directory 'd/sub'\n"],
  ["cp abc x && cat x; cp abc d; ls d", "alpha\nbeta\ngamma\nabc\none.txt\nsub\ntwo.c\n"],
  [
    "cp d e; cp -r d e; ls -R e",
    "e:\none.txt\nsub\ntwo.c\n\ne/sub:\nthree.txt\n",
    0,
    /^cp: -r not specified; omitting directory 'd'\n$/,
  ],
  ["cp abc abc", "", 1, /^cp: 'abc' and 'abc' are the same file\n$/],
  ["cp nope x", "", 1, /^cp: cannot stat 'nope': No such file or directory\n$/],
  ["cp abc dup nums", "", 1, /^cp: target 'nums' is not a directory\n$/],
  ["mv abc x; ls abc x; mv x d; ls d/x", "x\nd/x\n", 0, /cannot access 'abc'/],
  ["mv -v abc z; mv nope z", "renamed 'abc' -> 'z'\n", 1, /^mv: cannot stat 'nope'/],
  [
    "ln -s abc l; readlink l; ln abc h; stat -c %h abc; ln -s x l",
    "abc\n2\n",
    1,
    /^ln: failed to create symbolic link 'l': File exists\n$/,
  ],
  [
    "touch new; stat -c %s new; touch -d 2020-01-02 new; date -r new +%F; touch -c none2; ls none2",
    "0\n2020-01-02\n",
    2,
    /none2/,
  ],
  [
    "chmod 600 abc; stat -c '%a %A' abc; chmod u+x,go=r abc; stat -c %a abc; chmod -x abc; stat -c %a abc",
    "600 -rw-------\n744\n644\n",
  ],
  ["chmod z abc", "", 1, /^chmod: invalid mode: 'z'\nUsage: chmod /],
  ["stat -c '%n %s %F %U' abc d", "abc 17 regular file root\nd 100 directory root\n"],
  [
    "stat abc | head -n 2",
    "  File: abc\n  Size: 17        \tBlocks: 8          IO Block: 4096   regular file\n",
  ],

  ["head -n 2 abc; head -1 abc; head -c 3 abc", "alpha\nbeta\nalpha\nalp"],
  [
    "head -n -1 abc; head -q -n1 abc dup; head -n1 abc dup",
    "alpha\nbeta\nalpha\na\n==> abc <==\nalpha\n\n==> dup <==\na\n",
  ],
  ["head -n x abc", "", 1, /^head: invalid number of lines: 'x'\n$/],
  ["yes | tail -n +2 | head -n1; seq 100000000 | uniq | head -n1; yes | tail -c +3 | head -n1", "y\n1\ny\n"],
  [
    "printf 'a\\nb' | tail -n1; printf '\\n\\nb\\n' | tail -n2; tail -n0 abc; tail -c0 abc; tail -n9 none",
    "b\nb\nlast line",
  ],
  [
    "seq 9999 | tail -n 3000 | head -n1; seq 9999 | tail -c 25003 | head -n2; seq 9 | tail -c +16",
    "7000\n99\n5000\n\n9\n",
  ],
  [
    "tail /; head /; tail nope",
    "",
    1,
    /^tail: error reading '\/': Is a directory\nhead: error reading '\/': Is a directory\ntail: cannot open 'nope' for reading: No such file or directory\n$/,
  ],
  ["tail -n 1 abc; tail -n +2 abc; tail -c 4 abc; tail -1 none", "gamma\nbeta\ngamma\nmma\nlast line"],
  ["wc abc; wc -l <abc; wc -lw abc none", " 3  3 17 abc\n3\n 3  3 abc\n 0  2 none\n 3  5 total\n"],
  ["printf 'a b' | wc; printf '\\303\\251' | wc -mc", "      0       2       3\n      1       2\n"],

  ["grep a abc; grep -v a abc; grep -c a abc; grep -n m abc", "alpha\nbeta\ngamma\n3\n3:gamma\n"],
  [
    "grep -o 'm*a' abc | head -n 3; grep -i ALPHA abc; grep -w beta abc; grep -x be abc",
    "a\na\na\nalpha\nbeta\n",
    1,
  ],
  ["grep -E 'al|ga' abc; grep -F a. abc; echo $?; grep -q beta abc; echo $?", "alpha\ngamma\n1\n0\n"],
  ["grep 'a\\{1,\\}$' abc; grep -e alpha -e gamma abc", "alpha\nbeta\ngamma\nalpha\ngamma\n"],
  ["grep '\\(.\\)\\1' abc; grep '[[:upper:]]' abc; echo $?; grep '^[^a-f]' abc", "gamma\n1\ngamma\n"],
  [
    "grep -l 1 d/one.txt d/two.c; grep -L 1 d/*.c; grep -r main d; grep -rh --include='*.txt' . d",
    "d/one.txt\nd/two.c\nd/two.c:int main;\n1\n3\n",
  ],
  [
    "seq 9 | grep -A1 -B1 5; seq 9 | grep -C1 -e 2 -e 8; seq 99 | grep -m2 5",
    "4\n5\n6\n1\n2\n3\n--\n7\n8\n9\n5\n15\n",
  ],
  [
    "grep x nope; echo $?; grep -s x nope; echo $?; grep; echo $?",
    "2\n2\n2\n",
    0,
    /^grep: nope: No such file or directory\ngrep: no pattern\nUsage: grep /,
  ],
  ["grep '[' abc", "", 2, /^grep: Unmatched \[, \[\^/],
  ["grep d d", "", 2, /^grep: d: Is a directory\n$/],
  ["grep --color=always a none", "l\x1b[01;31m\x1b[Ka\x1b[m\x1b[Kst line\n"],

  ["sed s/a/A/ abc; sed 's/a/A/g;2d' abc", "Alpha\nbetA\ngAmma\nAlphA\ngAmmA\n"],
  ["sed -n '2,3p' abc; sed -n '/beta/,$p' abc; sed '$!d' abc", "beta\ngamma\nbeta\ngamma\ngamma\n"],
  ["sed -E 's/(.)(.)/\\2\\1/' abc; sed 's/\\(l\\)/[\\1&]/' abc | head -n1", "lapha\nebta\nagmma\na[ll]pha\n"],
  ["sed 's/b*/x/g' <<E\nabc\nE", "xaxcx\n"],
  ["sed 's/a/X/2' abc; sed -n 's/m/M/gp' abc; sed 's|/|:|' <<E\na/b\nE", "alphX\nbeta\ngammX\ngaMMa\na:b\n"],
  [
    "sed '2a\\\ntext' abc; sed '1i head' abc | head -n1; sed '2c changed' abc",
    "alpha\nbeta\ntext\ngamma\nhead\nalpha\nchanged\ngamma\n",
  ],
  ["sed y/abc/xyz/ abc | head -n1; sed = abc | head -n2; sed -n '$=' abc", "xlphx\n1\nalpha\n3\n"],
  [
    "sed 'N;s/\\n/,/' abc; sed -n 'H;${x;s/\\n/+/g;p;}' abc; sed 2q abc",
    "alpha,beta\ngamma\n+alpha+beta+gamma\nalpha\nbeta\n",
  ],
  [
    "sed ':a;s/^.\\{1,7\\}$/ &/;ta' abc; sed '/be/!d' abc; sed '1~2d' abc",
    "   alpha\n    beta\n   gamma\nbeta\nbeta\n",
  ],
  [
    "sed 's/.*/\\U&/;s/L/\\l&/' abc | head -n1; sed -e 1d -e 2d abc; printf 1,2 | sed s/,/-/",
    "AlPHA\ngamma\n1-2",
  ],
  [
    "sed -i s/alpha/omega/ abc; cat abc; sed --in-place=.bak 1d abc; cat abc abc.bak | wc -l",
    "omega\nbeta\ngamma\n5\n",
  ],
  ["sed k abc", "", 1, /unknown command: `k'/],
  ["sed 's/a/b' abc", "", 1, /unterminated `s' command/],
  ["sed p nope; echo $?", "2\n", 0, /^sed: can't read nope: No such file or directory\n$/],
  [
    "printf 'a\\tb\\\\\\n' | sed -n l; sed -s -n 1p abc dup; sed 1w/w/out abc >/dev/null; cat out",
    "a\\tb\\\\$\nalpha\na\nalpha\n",
  ],

  ["sort dup; sort -u dup; sort -r abc", "a\na\na\nb\na\nb\ngamma\nbeta\nalpha\n"],
  [
    "sort -n nums; sort -k2n table | cut -d' ' -f1; sort -k3,3 table | cut -c1",
    "-1\n2.5\n9\n10\ny\nz\nx\ny\nx\nz\n",
  ],
  [
    "sort -t: -k2,2nr csv | head -n1; sort -c abc; echo $?; sort -c dup; echo $?; sort -o x dup; cat x",
    "b:2:y\n0\n1\na\na\na\nb\n",
    0,
    /^sort: dup:4: disorder: a\n$/,
  ],
  [
    "printf 'b\\nA\\na\\n' | sort -f; printf '1.10\\n1.9\\n' | sort -V; printf '1K\\n5\\n1M\\n' | sort -h",
    "A\na\nb\n1.9\n1.10\n5\n1K\n1M\n",
  ],
  ["uniq dup; uniq -c dup; uniq -d dup; uniq -u dup", "a\nb\na\n      2 a\n      1 b\n      1 a\na\nb\na\n"],
  [
    "cut -d: -f1,3 csv; cut -d: -sf2- csv; cut -c2-3 abc; cut -c-2,4 none",
    "a:x\nb:y\nno delimiter\n1:x\n2:y\nlp\net\nam\nlat\n",
  ],
  ["cut abc", "", 1, /^cut: you must specify a list/],
  [
    "tr a-z A-Z <none; echo aabbc | tr -s a-b; echo hello | tr -d l; echo abc | tr -c a-b '\\n'",
    "LAST LINEabc\nheo\nab\n\n",
  ],
  ["echo Hi | tr '[:upper:][:lower:]' '[:lower:][:upper:]'; echo abc | tr abc 'x[y*]'", "hI\nxyy\n"],
  [
    "seq 3; seq 2 4; seq 1 2 5 | tr '\\n' ' '; seq -s, 3; seq -w 8 10; seq 1 .5 2; seq 3 -1 1; seq -f %03g 2",
    "1\n2\n3\n2\n3\n4\n1 3 5 1,2,3\n08\n09\n10\n1.0\n1.5\n2.0\n3\n2\n1\n001\n002\n",
  ],
  ["seq x", "", 1, /^seq: invalid floating point argument: 'x'\nUsage: seq /],

  [
    "find d | sort; find d -name '*.txt'",
    "d\nd/one.txt\nd/sub\nd/sub/three.txt\nd/two.c\nd/one.txt\nd/sub/three.txt\n",
  ],
  [
    "find d -type f -not -name '*.c' -print; find d -maxdepth 1 -type d; find d -mindepth 2",
    "d/one.txt\nd/sub/three.txt\nd\nd/sub\nd/sub/three.txt\n",
  ],
  [
    "find d -name sub -prune -o -type f -print; find d -size -2c; find d -type f -size 2c",
    "d/one.txt\nd/two.c\nd/one.txt\nd/sub/three.txt\n",
  ],
  [
    "find d -name '*.txt' -exec echo got {} \\;; find d -type f -exec echo all {} +",
    "got d/one.txt\ngot d/sub/three.txt\nall d/one.txt d/sub/three.txt d/two.c\n",
  ],
  ["find d -name '*.txt' -delete; find d \\( -name two.c -o -name x \\) -print0 | tr '\\0' '!'", "d/two.c!"],
  [
    "yes | find d -name '*.txt' -ok echo {} \\; 2>/dev/null; find d -nouser; find d -links +9",
    "d/one.txt\nd/sub/three.txt\n",
  ],
  [
    "find nope; find . -nope",
    "",
    1,
    /^find: 'nope': No such file or directory\nfind: unknown predicate '-nope'\n$/,
  ],
  [
    "echo a b c | xargs; echo a b c | xargs -n 2 echo -; printf 'a b\\nc\\n' | xargs -I X echo [X]",
    "a b c\n- a b\n- c\n[a b]\n[c]\n",
  ],
  [
    "printf 'a b\\0c' | xargs -0 -n1; printf '' | xargs -r echo no; printf '\"a b\" c' | xargs -n1",
    "a b\nc\na b\nc\n",
  ],
  [
    "echo a | xargs false; echo $?; echo a | xargs nope; echo $?",
    "123\n127\n",
    0,
    /^xargs: nope: No such file or directory\n$/,
  ],
  ["echo x | tee f g; cat f g; echo y | tee -a f >/dev/null; wc -l <f", "x\nx\nx\n2\n"],

  ["basename /a/b.c .c; basename -a x/y z; dirname /a/b/c a /", "b\ny\nz\n/a/b\n.\n/\n"],
  [
    "which cat nope; echo $?; pwd; whoami; uname; uname -rm; hostname",
    "/bin/cat\n1\n/w\nroot\nLinux\n6.18.0-alien riscv64\nalien\n",
  ],
  [
    "env -i A=1 env; env -u HOME A=2 sh -c 'echo $A [$HOME]'; env nope; echo $?",
    "A=1\n2 []\n127\n",
    0,
    /^env: 'nope': No such file or directory\n$/,
  ],
  [
    "id; id -u; id -un; id nobody",
    "uid=0(root) gid=0(root) groups=0(root)\n0\nroot\nuid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n",
  ],
  [
    "date -d @0; date -u -d '2024-02-29 12:34:56' '+%j %U %a %I%p'; date -d @86400 -I",
    "Thu Jan  1 00:00:00 UTC 1970\n060 08 Thu 12PM\n1970-01-02\n",
  ],
  ["date -R -d @0; date nope", "Thu, 01 Jan 1970 00:00:00 +0000\n", 1, /^date: invalid date 'nope'\n$/],
  ["sleep 0.5 1; sleep x", "", 1, /^sleep: invalid time interval 'x'\nUsage: sleep /],
  [
    "printf 'abcdefghijklmnopqr' | hexdump -C",
    "00000000  61 62 63 64 65 66 67 68  69 6a 6b 6c 6d 6e 6f 70  |abcdefghijklmnop|\n00000010  71 72                                             |qr|\n00000012\n",
  ],
  [
    "printf 'abc' | hexdump; head -c 64 /dev/zero | hexdump -n 48",
    "0000000 6261 0063".padEnd(47) +
      "\n0000003\n0000000 0000 0000 0000 0000 0000 0000 0000 0000\n*\n0000030\n",
  ],
  [
    "kill -l 15; kill -l | head -c 15; sh -c 'kill -s KILL $$'; echo $?",
    "TERM\nHUP\nINT\nQUIT\nIL137\n",
    0,
    /Killed/,
  ],
  [
    "/bin/kill -l TERM; /bin/kill -l 9; /bin/kill 99999; echo $?",
    "15\nKILL\n1\n",
    0,
    /^kill: \(99999\): No such process\n$/,
  ],
  ["test 1 -lt 2 && [ a = a ] && [ ! -e nope ] && [ -f abc -a -d d ] && [ -n x ] && echo ok", "ok\n"],
  [
    "[ 1 -eq x ]; echo $?; [ a; echo $?; [ -s abc ] && [ ! -s d/sub/none ] && [ abc -ef abc ] && echo ok",
    "2\n2\nok\n",
    0,
    /integer expression expected[^]*missing \]/,
  ],
  ["true; echo $?; false; echo $?; yes | head -n1; yes a b | head -n1", "0\n1\ny\na b\n"],
  [
    "readlink abc; echo $?; ln -s d/sub l; readlink -f l/../two.c; clear | hexdump -n 3",
    "1\n/w/d/two.c\n0000000 5b1b 0048".padEnd(60) + "\n0000003\n",
  ],
  ["expr 2 + 3 \\* 4; expr \\( 2 + 3 \\) \\* 4; expr 7 / 2; expr 0; echo $?", "14\n20\n3\n0\n1\n"],
  [
    "expr abc : 'a\\(.\\)'; expr abc : 'ab*'; expr a \\< b; expr '' \\| d; expr length four; expr substr hello 2 3",
    "b\n2\n1\nd\n4\nell\n",
  ],
  [
    "expr 1 + a; echo $?; expr 1 +; echo $?",
    "2\n2\n",
    0,
    /^expr: non-integer argument\nexpr: syntax error: missing argument after '\+'\n$/,
  ],
  [
    "du -b d/sub | tail -n1 | cut -f2; du -s nope",
    "d/sub\n",
    1,
    /^du: cannot access 'nope': No such file or directory\n$/,
  ],
  [
    "tty </dev/null; echo $?; stty </dev/null",
    "not a tty\n1\n",
    1,
    /^stty: standard input: Inappropriate ioctl for device\n$/,
  ],
  [
    "sed '1i\\  two' none; sed -n 'l 5' none; sed -n -l 5 l none",
    "  two\nlast linelast\\\n lin\\\ne$\nlast\\\n lin\\\ne$\n",
  ],
  [
    "sort -m abc dup | head -n 2; wc <abc; sort nope",
    "a\na\n 3  3 17\n",
    2,
    /^sort: cannot read: nope: No such file or directory\n$/,
  ],

  [
    "echo abc | grep -oE 'a|ab|abc'; echo abcd | sed -E 's/(a|ab)(c|bcd)(d*)/[\\1][\\2][\\3]/'",
    "abc\n[a][bcd][]\n",
  ],
  [
    "(head -c 20000 /dev/zero | tr '\\0' a; echo c) >l; grep -cE '(a+)+b' l; sed -nE 's/^(a|aa)+$/x/p' l",
    "0\n",
  ],
  ["grep -E '(a' abc", "", 2, /^grep: Unmatched \( or \\\(\n$/],
  ["sed -E 's/*a/b/' abc", "", 1, /Invalid preceding regular expression\n$/],
  [
    "head -c 2000 /dev/zero | tr '\\0' a >l; echo dc >>l; grep -E '(a*)(a*)(a*)\\1\\2\\3c' l; sed -E 's/(a*)(a*)(a*)\\1\\2\\3c//' l",
    "",
    4,
    /^grep: Memory exhausted\nsed: .*Memory exhausted\n$/,
  ],
  ["find d -regex 'd/\\(one\\|two\\)[.]+c?'", "d/two.c\n"],
  ["x=a.b.c; echo ${x#*.} ${x##*.} ${x%.*} ${x%%.*}", "b.c c a.b a\n"],
];
