"""Who is who: keys, the hub's authority over a trust domain, joining, TLS between sites, and who may do what."""
