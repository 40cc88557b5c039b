<?php
// Route /ws/chat/{room}: a chat where, as yet, everybody hears only themselves.
//
// connect     decides who may come in, and remembers the name on the connection (WS-Meta-Name)
// message     says what was said, by whom
// disconnect  is told afterwards; nobody is there to answer

declare(strict_types=1);

$room = $_SERVER['WS_PATH_ROOM'];

match ($_SERVER['WS_EVENT']) {
    'connect' => connect($room),
    'message' => message($room, $_SERVER['WS_META_NAME'] ?? 'guest'),
    'disconnect' => error_log("chat: somebody left $room, code {$_SERVER['WS_CLOSE_CODE']}"),
};

function connect(string $room): void
{
    $name = trim((string) ($_GET['name'] ?? 'guest'));
    if (!preg_match('/^[\p{L}\p{N} ._-]{1,30}$/u', $name)) {
        // Any 4xx refuses the handshake; the browser never gets a socket.
        http_response_code(403);
        reply(['error' => 'A name has 1 to 30 letters and digits: ?name=Ada']);
        return;
    }
    header('WS-Meta-Name: ' . $name);
    reply(['room' => $room, 'welcome' => $name]);
}

function message(string $room, string $name): void
{
    $frame = json_decode(file_get_contents('php://input'), true);
    $text = trim((string) ($frame['text'] ?? ''));
    if ($text === '') {
        http_response_code(422);
        return;
    }
    reply(['room' => $room, 'from' => $name, 'text' => $text, 'at' => date('H:i:s')]);
}

function reply(array $value): void
{
    header('Content-Type: application/json');
    echo json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
}
