"""A call to PHP: from an event to a reply."""
