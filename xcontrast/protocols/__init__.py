"""The papers' own tables: official layouts opened lazily, published protocols run, rows compared.

One module a data set (``open_…`` and ``run_…``), published rows in ``tables``, and what they share.
"""
