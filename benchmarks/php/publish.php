<?php
// The frame goes to the channel of the client that sent it, so that it comes back as its answer.
header('Content-Type: application/json');
header('WS-Publish: own.' . $_SERVER['WS_PATH_ROOM']);
echo file_get_contents('php://input');
