"""The bare loop that wsgate is compared with."""
