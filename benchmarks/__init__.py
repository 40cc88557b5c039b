"""Side-by-side measurements of wsgate and what else could stand in front of php-fpm."""
