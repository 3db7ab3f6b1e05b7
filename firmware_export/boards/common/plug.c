#include "plug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "world.h"

static int events = -1;
static int holders; /* how many have it open */

void plug_watch(const struct line *line)
{
    const char *const name = ptsname(line->fd);
    int other;

    events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (name == NULL || events < 0) {
        die("the serial line cannot be watched");
    }
    /* a pseudo-terminal that was never open does not say that nobody has it: open and close it once */
    other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (other < 0 || close(other) != 0 || inotify_add_watch(events, name, IN_OPEN | IN_CLOSE) < 0) {
        die("the serial line cannot be watched");
    }
}

int plug_opened(const struct line *line)
{
    uint8_t data[64 * sizeof(struct inotify_event)];
    const ssize_t got = read(events, data, sizeof data);
    const uint8_t *at = data;
    int opened = 0;

    /* one behind the other, and without names: it is a file that is watched, not a folder */
    for (; got > 0 && at < data + got; at += sizeof(struct inotify_event)) {
        struct inotify_event event;
        memcpy(&event, at, sizeof event);
        if (event.mask & IN_OPEN) {
            opened = opened || holders == 0;
            holders++;
        } else if ((event.mask & IN_CLOSE) && holders > 0) {
            holders--;
        }
    }
    if (line->closed && got <= 0) {
        holders = 0; /* equal events in a row come as one, so the count may be off: a closed line knows better */
    }
    return opened;
}
