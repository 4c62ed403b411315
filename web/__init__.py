"""The page that codes speech in the browser, as `vqcodec serve` serves it: static files and no Python; see docs/web.md."""
