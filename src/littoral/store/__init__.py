"""What must survive: events on their way up, blobs by digest, small versioned records."""
