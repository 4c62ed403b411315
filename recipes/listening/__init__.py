"""The listening test: its page, and the scores from what listeners answered."""
