"""Turn the events of a search into false-alarm rates, sensitive volume and a report."""
