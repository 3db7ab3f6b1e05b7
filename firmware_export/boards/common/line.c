#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "world.h"

void line_open(struct line *line)
{
    struct termios raw;
    const char *name;

    line->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (line->fd < 0 || grantpt(line->fd) != 0 || unlockpt(line->fd) != 0) {
        die("no pseudo-terminal to be had (is /dev/pts mounted?)");
    }
    name = ptsname(line->fd);
    if (name == NULL || tcgetattr(line->fd, &raw) != 0) {
        die("the pseudo-terminal has no name or no attributes");
    }
    cfmakeraw(&raw);
    if (tcsetattr(line->fd, TCSANOW, &raw) != 0 || fcntl(line->fd, F_SETFL, O_NONBLOCK) != 0) {
        die("the pseudo-terminal cannot be set to raw, non-blocking mode");
    }
    printf("{\"port\": \"%s\"}\n", name);
    (void)fflush(stdout);
}

void line_drain(struct line *line)
{
    while (line->used > 0) {
        const ssize_t n = write(line->fd, line->out, line->used);
        if (n > 0) {
            line->used -= (size_t)n;
            memmove(line->out, line->out + n, line->used);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n < 0 && errno != EAGAIN) {
                line->used = 0;
            }
            return;
        }
    }
}

int line_write(struct line *line, const uint8_t *data, size_t length)
{
    if (line->fd < 0 || line->closed) {
        return 1; /* a UART does not know whether anybody listens */
    }
    if (line->used + length > sizeof line->out) {
        return 0;
    }
    memcpy(line->out + line->used, data, length);
    line->used += length;
    line_drain(line);
    return 1;
}

size_t line_read(struct line *line, uint8_t *data, size_t capacity)
{
    ssize_t n;

    if (line->fd < 0) {
        return 0;
    }
    n = read(line->fd, data, capacity);
    line->closed = n < 0 && errno == EIO;
    if (line->closed) {
        line->used = 0; /* was meant for a host that is gone */
    }
    return n > 0 ? (size_t)n : 0;
}

void line_unplug(struct line *line)
{
    close(line->fd);
    line->fd = -1;
    line->closed = 1;
    line->used = 0;
}
