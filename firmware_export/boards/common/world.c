#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "record.h"

void die(const char *what)
{
    (void)fprintf(stderr, "board: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

uint64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void transfer(int fd, uint8_t *data, size_t length, int sending)
{
    size_t done = 0;
    while (done < length) {
        const ssize_t n = sending ? send(fd, data + done, length - done, MSG_NOSIGNAL)
                                  : recv(fd, data + done, length - done, 0);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            errno = 0;
            die("the plant has closed its socket; the world is gone, so this program ends");
        }
    }
}

void world_request(struct world *world, char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators,
                   int torque_on)
{
    uint8_t request[REQUEST_BYTES];
    uint8_t reply[REPLY_BYTES];

    record_request(request, kind, episode_seed, time_us, actuators, torque_on);
    transfer(world->fd, request, sizeof request, 1);
    transfer(world->fd, reply, sizeof reply, 0);
    record_reply(reply, world->sensors);
}
