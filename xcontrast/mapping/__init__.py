"""Maps on disk: cloud-optimised GeoTIFF."""
