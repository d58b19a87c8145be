"""One short function per asset: where sources meet loading. Read this package first."""
