<?php
// Route /ws/errors: everything that can go wrong in a script, one word each.
//
// Whatever happens here, the client gets a reply, an error frame or a close code, and the
// socket stays open unless this script closes it.

declare(strict_types=1);

$frame = json_decode(file_get_contents('php://input'), true);

switch ($frame['fail'] ?? '') {
    case 'refuse':      // PHP's own status becomes the error frame's code
        http_response_code(422);
        break;

    case 'fatal':       // 500; the message of PHP goes to the log, never to the client
        undefined_function();

    case 'warning':     // the warning goes to the log, the answer is whole
        echo $undefined_variable;
        echo json_encode(['answer' => 'in spite of a warning']);
        break;

    case 'slow':        // longer than the upstream's timeout: 504, although PHP works on
        sleep(4);
        echo json_encode(['answer' => 'nobody waits for this any more']);
        break;

    case 'die':         // the process is gone in the middle: 502, executed once, not repeated
        posix_kill(getmypid(), 9);
        break;

    case 'huge':        // more than max_response
        for ($i = 0; $i < 40; $i++) {
            echo str_repeat('x', 65536);
        }
        break;

    case 'nothing':     // no frame at all
        http_response_code(204);
        break;

    case 'close':       // a last frame, then the socket is closed with this code
        header('WS-Close: 4001 as you wish');
        echo json_encode(['answer' => 'farewell']);
        break;

    default:
        echo json_encode(['answer' => 'nothing failed']);
}
