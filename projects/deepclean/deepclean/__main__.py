"""`python -m deepclean`."""

from runtime import command_line

from deepclean.live.verbs import live, play, status, trainer
from deepclean.verbs import clean, collect, monitor, online, publish, report, simulate

VERBS = {
    "simulate": simulate,
    "collect": collect,
    "publish": publish,
    "clean": clean,
    "report": report,
    "play": play,
    "online": online,
    "monitor": monitor,
    "trainer": trainer,
    "status": status,
    "live": live,
}

if __name__ == "__main__":
    command_line("deepclean", VERBS)
