"""wsgate: holds WebSockets open in front of php-fpm."""
