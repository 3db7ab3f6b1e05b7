#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "world.h"

static int file = -1;

void memory_open(const char *path, uint8_t *data, size_t size)
{
    size_t got = 0;

    memset(data, 0xFF, size);
    if (path == NULL) {
        return;
    }
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) {
        die(path);
    }
    while (got < size) {
        const ssize_t n = pread(file, data + got, size - got, (off_t)got);
        if (n > 0) {
            got += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            break;
        }
    }
}

void memory_write(const uint8_t *data, size_t at, size_t length)
{
    size_t done = 0;
    while (file >= 0 && done < length) {
        const ssize_t n = pwrite(file, data + at + done, length - done, (off_t)(at + done));
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return; /* the firmware reads back what it wrote, from `data`; a full disk is this machine's trouble */
        }
    }
    if (file >= 0) {
        (void)fsync(file);
    }
}
