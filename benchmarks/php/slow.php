<?php
// A script that waits 2 ms for something else, as a query to a database would.
usleep(2000);
header('Content-Type: application/json');
echo file_get_contents('php://input');
