<?php
// The answer is the frame, so that every client can check that the answer is its own.
header('Content-Type: application/json');
echo file_get_contents('php://input');
