/*
 * hal_host.c - the firmware as a Linux program.
 *
 *   firmware --plant-fd N [--paced] [--unplug-at EPISODE:TICK] [--store FILE]
 *
 * The serial line is a pseudo-terminal (common/line.h), the physical world at the other end of the inherited socket N
 * (common/world.h), time is virtual or paced (virtual/lockstep.h).
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "button.h"
#include "hal.h"
#include "line.h"
#include "lockstep.h"
#include "memory.h"
#include "options.h"
#include "world.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif

#define USAGE "usage: firmware --plant-fd N [--paced] [--unplug-at EPISODE:TICK] [--store FILE]"
#define STORE_SIZE 65536u
#define CLOSED_POLL_US 2000 /* a closed pty reports itself without pause: look again this often */

static struct line line;
static struct world world;
static struct options options;
static uint8_t store[STORE_SIZE];

int hal_uart_write(const uint8_t *data, size_t length)
{
    return line_write(&line, data, length);
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    return line_read(&line, data, capacity);
}

uint32_t hal_store_size(void)
{
    return STORE_SIZE;
}

void hal_store_read(uint32_t at, uint8_t *data, uint32_t length)
{
    memcpy(data, store + at, length);
}

void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    memcpy(store + at, data, length);
    memory_write(store, at, length);
}

void hal_devices(int anew, struct hal_devices *devices)
{
    (void)anew;
    memset(devices, 0, sizeof *devices);
}

void hal_stack(uint16_t *used, uint16_t *left)
{
    *used = 0;
    *left = 0;
}

uint64_t board_wall_us(void)
{
    return wall_us();
}

void board_world(char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators, int torque_on,
                 int32_t *sensors)
{
    world_request(&world, kind, episode_seed, time_us, actuators, torque_on);
    memcpy(sensors, world.sensors, sizeof world.sensors);
}

/* Ends the program when the plant is gone. */
void board_wait(uint64_t limit_us)
{
    struct pollfd fds[2];
    struct timespec limit;
    const int listening = line.fd >= 0 && !line.closed;

    if (!listening && limit_us > CLOSED_POLL_US) {
        limit_us = CLOSED_POLL_US;
    }
    limit.tv_sec = (time_t)(limit_us / 1000000u);
    limit.tv_nsec = (long)(limit_us % 1000000u) * 1000;
    fds[0].fd = world.fd;
    fds[0].events = 0; /* only its end */
    fds[0].revents = 0;
    fds[1].fd = listening ? line.fd : -1;
    fds[1].events = (short)(POLLIN | (line.used > 0 ? POLLOUT : 0));
    fds[1].revents = 0;
    if (ppoll(fds, 2, &limit, NULL) <= 0) {
        return;
    }
    if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
        errno = 0;
        die("the plant has closed its socket; the world is gone, so this program ends");
    }
    if (listening) {
        line_drain(&line);
    }
}

int board_tick(unsigned episode, unsigned tick)
{
    if (line.fd >= 0 && options.unplug_episode == episode && options.unplug_tick == tick) {
        line_unplug(&line);
    }
    return line.fd >= 0;
}

/* From the beginning, under another boot id; half a message in the receiver is gone, and so is all RAM but the store. */
static void start(void)
{
    struct timespec real;
    uint8_t unread[256];

    clock_gettime(CLOCK_REALTIME, &real);
    while (line_read(&line, unread, sizeof unread) > 0) {
    }
    lockstep_start("host", (uint32_t)FIRMWARE_ID,
                   (uint32_t)real.tv_sec ^ ((uint32_t)real.tv_nsec << 2) ^ ((uint32_t)getpid() << 16), options.paced);
}

int main(int argc, char **argv)
{
    options = options_parse(argc, argv, 1, USAGE);
    world.fd = options.plant_fd;
    memory_open(options.store, store, sizeof store);
    line.fd = -1;
    button_watch();
    start();
    line_open(&line);
    while (lockstep_turn()) {
        if (button_pressed()) {
            start();
        }
    }
    return 0;
}
