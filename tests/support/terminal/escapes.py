"""Known attacks on terminals: each acts, hides or fakes something if it gets through."""

PAYLOADS = [
    "\x1b[2J\x1b[H",  # clear, home
    "\x1b[3J",  # clear the scrollback
    "\x1b[10A\x1b[K",  # erase text above
    "\x1b[1;5r",  # scroll region
    "\x1b[?1049h",  # another screen
    "\x1b[?25l",  # no cursor
    "\x1b[6n",  # an answer typed as input
    "\x1b[c",
    "\x1b[>q",
    "\x1b[21t",  # the title as input
    "\x1b[8m hidden \x1b[0m",
    "\x1b[30;40m black on black",
    "\x1b]0;title\x07",
    "\x1b]2;title\x1b\\",
    "\x1b]52;c;cm0gLXJmIC8=\x07",  # the clipboard
    "\x1b]8;;https://evil.example/\x1b\\good.example\x1b]8;;\x1b\\",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1b]9;notice\x07",
    "\x1b]10;?\x07",
    "\x1bP$qm\x1b\\",
    "\x1bP0;0;0q#0;2;0;0;0#0~~\x1b\\",
    "\x1b_Ga=T;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstring\x1b\\",
    "\x1bc",
    "\x1b(0",
    "\x1b#8",
    "\x1bM",
    "\x1b7\x1b8",
    "\x9b2J",
    "\x9d0;title\x9c",
    "\x90$qm\x9c",
    "\x84\x85\x8d",
    "\x07\x08\x08\x08safe",
    "\rAllow? yes",
    "\x0b\x0c\x0e\x0f",
    "\x00\x7f",
    "\u202egnp.exe",
    "\u2066a\u2069\u200f",
    "tag\U000e0041\U000e0042",
    "\ufeff\ufff9x\ufffa",
    "&#27;[2J &#155;2J &#x202e;x",
    "\x1b\x1b[2J",
    "\x1b[\x1b[2J",
    "\x1b[31",
    "\x1b]0;never ends",
    "\ud83d",
]
