"""The configuration of wsgate, and the start of one worker beside a hub."""
