"""`python -m datagen VERB ...`."""

from datagen.cli import main

main()
