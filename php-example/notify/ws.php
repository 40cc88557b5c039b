<?php
// Route /ws/notify: whoever is logged in hears what concerns them, and nothing else.
//
// connect   says who it is (WS-User). The route's subscribe: ["notify.{user}"] does the rest.
//
// A browser that only listens needs no WebSocket: its EventSource asks for the same address, comes
// back by itself and gets what it missed meanwhile.

declare(strict_types=1);

// A real application looks into its session here: session_start(); $_SESSION['user'].
$user = (string) ($_GET['user'] ?? '');

if (!preg_match('/^[a-z0-9._-]{1,30}$/i', $user)) {
    http_response_code(401);
    header('Content-Type: application/json');
    echo json_encode(['error' => 'Who are you? A name has 1 to 30 letters and digits: ?user=ada']);
    exit;
}
header("WS-User: $user");
