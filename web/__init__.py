"""The page that codes speech in the browser, which `vqcodec serve` serves: static files, no Python; see docs/web.md."""
