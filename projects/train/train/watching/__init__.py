"""What one sees of a training: how far it is, and what the network does.

Everything here is a Lightning callback or a logger. Whoever wants to look at something else writes
a callback of their own: after each validation every callback of the trainer that has the method
`on_validation_score` gets the scores, on the first process.

    class QuietEvents(L.Callback):
        def on_validation_score(self, trainer, module, outcome):
            injections = outcome.validation.injections
            snr = injections.snr[outcome.rows]
            found = (outcome.foreground > outcome.background.max()).cpu().numpy()
            quiet = snr < 8
            print(trainer.current_epoch, found[quiet].mean(), outcome.measures["valid_auroc"])

    # train.yaml
    trainer:
      callbacks:
        - class_path: my_package.QuietEvents

`outcome` holds `measures` (name to number), `background` (a score per block), `foreground` (a
score per injection), `rows` (of the foreground in the injection set) and `validation` (the set).
"""

from train.watching.progress import TrainingProgress
from train.watching.validation import WatchValidation
from train.watching.wandb import WandbOptions, add_wandb_arguments, make_logger, wandb_options

__all__ = [
    "TrainingProgress",
    "WandbOptions",
    "WatchValidation",
    "add_wandb_arguments",
    "make_logger",
    "wandb_options",
]
