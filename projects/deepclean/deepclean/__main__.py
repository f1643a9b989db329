"""`python -m deepclean`."""

from runtime import command_line

from deepclean.fetch.verbs import fetch
from deepclean.live.verbs import conclude, live, plan, play, status, trainer
from deepclean.served.verbs import export
from deepclean.verbs import clean, collect, monitor, online, publish, report, simulate

VERBS = {
    "simulate": simulate,
    "fetch": fetch,
    "collect": collect,
    "publish": publish,
    "export": export,
    "clean": clean,
    "report": report,
    "play": play,
    "online": online,
    "monitor": monitor,
    "trainer": trainer,
    "plan": plan,
    "conclude": conclude,
    "status": status,
    "live": live,
}

if __name__ == "__main__":
    command_line("deepclean", VERBS)
