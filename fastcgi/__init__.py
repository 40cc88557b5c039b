"""An asyncio FastCGI client for php-fpm; standard library only."""
