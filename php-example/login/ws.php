<?php
// Route /ws/login: an ordinary PHP session, over a socket.
//
// The browser's cookies come with every event, so session_start() finds the session by itself.
// A cookie set at connect goes to the browser with the 101; one set later is remembered by the
// gateway for this connection. The password of this example is "wsgate".

declare(strict_types=1);

session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax', 'use_strict_mode' => true]);

if ($_SERVER['WS_EVENT'] === 'connect') {
    reply(['you' => $_SESSION['user'] ?? null]);
    exit;
}

$frame = json_decode(file_get_contents('php://input'), true);

switch ($frame['action'] ?? '') {
    case 'login':
        if (!hash_equals('wsgate', (string) ($frame['password'] ?? ''))) {
            http_response_code(403);
            exit;
        }
        $_SESSION['user'] = (string) ($frame['user'] ?? 'somebody');
        $_SESSION['visits'] = 0;
        reply(['you' => $_SESSION['user']]);
        break;

    case 'count':
        // What a page on the same site would see, too: it is the same session.
        $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
        reply(['you' => $_SESSION['user'] ?? null, 'visits' => $_SESSION['visits']]);
        break;

    case 'logout':
        $_SESSION = [];
        reply(['you' => null]);
        break;

    default:
        http_response_code(422);
}

function reply(array $value): void
{
    header('Content-Type: application/json');
    echo json_encode($value, JSON_UNESCAPED_UNICODE);
}
