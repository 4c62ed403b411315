"""Parts that the reports share: charts, templates, and the data behind them."""
