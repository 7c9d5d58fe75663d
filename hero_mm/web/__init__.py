"""A page in the browser for people who only ask: ``hero-mm web``."""
