<?php
// Route /ws/chat/{room}: everybody in a room hears everybody.
//
// connect   decides who may come in, says who it is (WS-User), joins the room (WS-Subscribe)
// message   checks what is said, and publishes it to the room (WS-Publish)
//
// The channel, its last fifty messages and who is in the room: wsgate.yaml says so, the gateway
// keeps it. This script keeps nothing.

declare(strict_types=1);

$room = $_SERVER['WS_PATH_ROOM'];

match ($_SERVER['WS_EVENT']) {
    'connect' => connect($room, trim((string) ($_GET['name'] ?? 'guest'))),
    'message' => message($room, $_SERVER['WS_USER']),
};

function connect(string $room, string $name): void
{
    if (!preg_match('/^[A-Za-z0-9._-]{1,30}$/', $name)) {
        // Any 4xx refuses the handshake; the browser never gets a socket.
        http_response_code(403);
        reply(['error' => 'A name has 1 to 30 letters and digits: ?name=Ada']);
        return;
    }
    header('WS-User: ' . $name);
    header('WS-Subscribe: room.' . $room);
}

function message(string $room, string $name): void
{
    $frame = json_decode(file_get_contents('php://input'), true);
    $text = trim((string) ($frame['text'] ?? ''));
    if ($text === '' || strlen($text) > 2000) {
        http_response_code(422);
        return;
    }
    // With this header the body goes to the room, the sender included, not only to the sender.
    header('WS-Publish: room.' . $room);
    reply(['from' => $name, 'text' => $text, 'at' => date('H:i:s')]);
}

function reply(array $value): void
{
    header('Content-Type: application/json');
    echo json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}
