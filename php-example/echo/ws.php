<?php
// Route /ws/echo: every frame comes back, text as text and binary as binary.
//
// The frame is the request's body, whatever it holds; what is known about the socket
// stands in $_SERVER. One frame in, one run of this script, one frame out.

declare(strict_types=1);

$frame = file_get_contents('php://input');

if ($_SERVER['WS_MESSAGE_TYPE'] === 'binary') {
    // This content type makes the reply a binary frame; anything else makes it text.
    header('Content-Type: application/octet-stream');
    echo $frame;
    exit;
}

header('Content-Type: application/json');
echo json_encode([
    'echo' => json_decode($frame, true) ?? $frame,
    'message' => (int) $_SERVER['WS_MESSAGE_ID'],
    'connected_for_ms' => (int) round(microtime(true) * 1000) - (int) $_SERVER['WS_CONNECTED_AT'],
    'php' => PHP_VERSION,
    'process' => getmypid(),
], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
