/*
 * hal_host.c - the firmware as a Linux program.
 *
 *   firmware --plant-fd N [--paced] [--unplug-at EPISODE:TICK]
 *
 * The serial line is a pseudo-terminal, whose path is printed as one JSON line. The physical world is at the other end
 * of the inherited socket N: fixed little-endian records, each answered with the sensor counts.
 *
 *   request  u8 kind ('R' reset, 'S' step one control period), u8 torque_on, u16 0, u32 episode_seed,
 *            u64 time_us, i32 actuators[ROBOT_ACTUATORS]
 *   reply    i32 sensors[ROBOT_SENSORS]
 *
 * Lock-step, the default: time is virtual. In RUN and HOLD it moves by one control period a plant step, as fast as
 * the plant answers, but the watchdog must not see a silence that was none: time since the last keep-alive reaches
 * ROBOT_HOLD_US only if the host has really been silent for that long. So an episode repeats bit for bit, however slow
 * the host is. In the other states time follows the wall clock and the world rests, but for the one step that shows it
 * the last command. --paced: time is the wall clock and the world always moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "firmware.h"
#include "hal.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif

#define PERIOD ((uint64_t)ROBOT_CONTROL_PERIOD_US)
#define REQUEST_BYTES (16 + 4 * ROBOT_ACTUATORS)
#define REPLY_BYTES (4 * ROBOT_SENSORS)
#define CLOSED_POLL_US 2000 /* a closed pty reports itself without pause: look again this often */

static struct board {
    struct firmware firmware;
    int pty;   /* -1: unplugged for good */
    int plant;
    int closed; /* nobody has the other side of the pty open */
    int paced;
    uint8_t out[16384];
    size_t out_used;

    uint64_t time_us;    /* the controller's clock */
    uint64_t offset_us;  /* wall clock minus controller's clock, while that follows it */
    uint64_t next_tick_us;
    uint64_t alive_wall_us; /* wall clock at the last sign of life */
    uint32_t alive_us;      /* firmware.alive_us at that moment */

    int32_t sensors[ROBOT_SENSORS];
    int32_t actuators[ROBOT_ACTUATORS];
    int torque_on;
    int dirty; /* the plant has not seen the last command yet */
    int fresh; /* the sensors belong to a control period that has not been run yet */

    unsigned episodes;
    unsigned unplug_episode; /* 0: never */
    unsigned unplug_tick;
} board;

static void die(const char *what)
{
    fprintf(stderr, "host firmware: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- the plant ---- */

static void plant_transfer(uint8_t *data, size_t length, int sending)
{
    size_t done = 0;
    while (done < length) {
        const ssize_t n = sending ? send(board.plant, data + done, length - done, MSG_NOSIGNAL)
                                  : recv(board.plant, data + done, length - done, 0);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            errno = 0;
            die("the plant has closed its socket; the world is gone, so this program ends");
        }
    }
}

static void plant_request(uint8_t kind, uint32_t episode_seed)
{
    uint8_t request[REQUEST_BYTES];
    uint8_t reply[REPLY_BYTES];
    uint8_t *p = request;
    const uint8_t *q = reply;
    int i;

    p = put_u8(p, kind);
    p = put_u8(p, (uint8_t)(board.torque_on != 0));
    p = put_u16(p, 0);
    p = put_u32(p, episode_seed);
    p = put_u32(p, (uint32_t)(board.time_us & 0xFFFFFFFFu));
    p = put_u32(p, (uint32_t)(board.time_us >> 32));
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = put_i32(p, board.actuators[i]);
    }
    plant_transfer(request, sizeof request, 1);
    plant_transfer(reply, sizeof reply, 0);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        q = get_i32(q, &board.sensors[i]);
    }
    board.dirty = 0;
}

/* ---- hal.h ---- */

void hal_sense(int32_t *sensors)
{
    memcpy(sensors, board.sensors, sizeof board.sensors);
}

void hal_actuate(const int32_t *actuators, int torque_on)
{
    if (memcmp(board.actuators, actuators, sizeof board.actuators) != 0 || board.torque_on != torque_on) {
        memcpy(board.actuators, actuators, sizeof board.actuators);
        board.torque_on = torque_on;
        board.dirty = 1;
    }
}

uint32_t hal_now_us(void)
{
    return (uint32_t)(board.time_us & 0xFFFFFFFFu);
}

void hal_episode_begin(uint32_t episode_seed)
{
    plant_request('R', episode_seed);
    board.fresh = 1;
    board.episodes++;
    board.alive_wall_us = wall_us();
}

static void drain(void)
{
    while (board.out_used > 0) {
        const ssize_t n = write(board.pty, board.out, board.out_used);
        if (n > 0) {
            board.out_used -= (size_t)n;
            memmove(board.out, board.out + n, board.out_used);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n < 0 && errno != EAGAIN) {
                board.out_used = 0;
            }
            return;
        }
    }
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    if (board.pty < 0 || board.closed) {
        return 1; /* a UART does not know whether anybody listens */
    }
    if (board.out_used + length > sizeof board.out) {
        return 0;
    }
    memcpy(board.out + board.out_used, data, length);
    board.out_used += length;
    drain();
    return 1;
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    ssize_t n;

    if (board.pty < 0) {
        return 0;
    }
    n = read(board.pty, data, capacity);
    board.closed = n < 0 && errno == EIO;
    if (board.closed) {
        board.out_used = 0; /* was meant for a host that is gone */
    }
    return n > 0 ? (size_t)n : 0;
}

/* ---- time ---- */

/* Waits for bytes from the host, at most `limit_us`. Ends the program when the plant is gone. */
static void wait_for_host(uint64_t limit_us)
{
    struct pollfd fds[2];
    struct timespec limit;
    const int listening = board.pty >= 0 && !board.closed;

    if (!listening && limit_us > CLOSED_POLL_US) {
        limit_us = CLOSED_POLL_US;
    }
    limit.tv_sec = (time_t)(limit_us / 1000000u);
    limit.tv_nsec = (long)(limit_us % 1000000u) * 1000;
    fds[0].fd = board.plant;
    fds[0].events = 0; /* only its end */
    fds[0].revents = 0;
    fds[1].fd = listening ? board.pty : -1;
    fds[1].events = (short)(POLLIN | (board.out_used > 0 ? POLLOUT : 0));
    fds[1].revents = 0;
    if (ppoll(fds, 2, &limit, NULL) <= 0) {
        return;
    }
    if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
        errno = 0;
        die("the plant has closed its socket; the world is gone, so this program ends");
    }
    if (listening) {
        drain();
    }
}

/* Microseconds of wall clock until virtual time may move on by one control period; 0: now. */
static uint64_t until_step(uint64_t wall)
{
    const uint32_t age = (uint32_t)((board.time_us + PERIOD) & 0xFFFFFFFFu) - board.firmware.alive_us;
    const uint64_t silence = wall - board.alive_wall_us;

    if (age < (uint32_t)ROBOT_HOLD_US || silence >= age) {
        return 0;
    }
    return age - silence;
}

static void step(void)
{
    plant_request('S', 0);
    if (!board.paced) {
        board.time_us += PERIOD;
        board.offset_us -= PERIOD;
    }
}

static void unplug_if_due(void)
{
    const struct episode *episode = &board.firmware.episode;
    const unsigned tick = episode->begun ? episode->tick + 1u : 0u;

    if (board.pty >= 0 && board.unplug_episode == board.episodes && board.unplug_tick == tick) {
        close(board.pty);
        board.pty = -1;
        board.closed = 1;
        board.out_used = 0;
    }
}

static void run_tick(void)
{
    if (board.unplug_episode > 0 && safety_torque(board.firmware.state)) {
        unplug_if_due();
    }
    firmware_tick(&board.firmware);
    board.fresh = 0;
    board.next_tick_us = board.time_us + PERIOD;
}

/* One turn of the main loop; returns 0 when the program is to end. */
static int turn(void)
{
    struct firmware *const firmware = &board.firmware;
    const uint64_t wall = wall_us();
    const int virtual_time = safety_torque(firmware->state) && !board.paced;
    uint64_t wait;

    if (virtual_time) {
        board.offset_us = wall - board.time_us;
    } else {
        board.time_us = wall - board.offset_us;
        if (board.dirty && !board.paced) {
            step();
        }
    }
    firmware_poll(firmware);
    if (firmware->alive_us != board.alive_us) {
        board.alive_us = firmware->alive_us;
        board.alive_wall_us = wall;
    }
    if (safety_torque(firmware->state) && board.fresh) {
        run_tick();
        return 1;
    }
    if (safety_torque(firmware->state) && !board.paced) {
        wait = until_step(wall);
        if (wait == 0) {
            step();
            board.fresh = 1;
        } else {
            wait_for_host(wait);
        }
        return 1;
    }
    if (board.time_us >= board.next_tick_us) {
        const uint64_t due = board.next_tick_us;
        if (board.paced) {
            step();
        }
        run_tick();
        if (board.time_us < due + PERIOD) {
            board.next_tick_us = due + PERIOD; /* absolute deadlines do not drift */
        }
        return 1;
    }
    if (board.pty < 0 && !safety_torque(firmware->state) && !board.dirty) {
        return 0; /* unplugged, and the actuators are released */
    }
    wait_for_host(board.dirty && !board.paced ? 0 : board.next_tick_us - board.time_us);
    return 1;
}

/* ---- start ---- */

static void open_pty(void)
{
    struct termios raw;
    const char *name;

    board.pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (board.pty < 0 || grantpt(board.pty) != 0 || unlockpt(board.pty) != 0) {
        die("no pseudo-terminal to be had (is /dev/pts mounted?)");
    }
    name = ptsname(board.pty);
    if (name == NULL || tcgetattr(board.pty, &raw) != 0) {
        die("the pseudo-terminal has no name or no attributes");
    }
    cfmakeraw(&raw);
    if (tcsetattr(board.pty, TCSANOW, &raw) != 0 || fcntl(board.pty, F_SETFL, O_NONBLOCK) != 0) {
        die("the pseudo-terminal cannot be set to raw, non-blocking mode");
    }
    printf("{\"port\": \"%s\"}\n", name);
    fflush(stdout);
}

static void usage(void)
{
    errno = 0;
    die("usage: firmware --plant-fd N [--paced] [--unplug-at EPISODE:TICK]");
}

static void parse(int argc, char **argv)
{
    char rest;
    int i;

    board.plant = -1;
    for (i = 1; i < argc; i++) {
        const char *const value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--paced") == 0) {
            board.paced = 1;
        } else if (strcmp(argv[i], "--plant-fd") == 0 && sscanf(value, "%d%c", &board.plant, &rest) == 1) {
            i++;
        } else if (strcmp(argv[i], "--unplug-at") == 0 &&
                   sscanf(value, "%u:%u%c", &board.unplug_episode, &board.unplug_tick, &rest) == 2 &&
                   board.unplug_episode > 0) {
            i++;
        } else {
            usage();
        }
    }
    if (board.plant < 0) {
        usage();
    }
}

int main(int argc, char **argv)
{
    const uint64_t start = wall_us();
    struct timespec real;

    parse(argc, argv);
    clock_gettime(CLOCK_REALTIME, &real);
    board.offset_us = start;
    memcpy(board.actuators, robot_safe, sizeof board.actuators);
    plant_request('R', 0); /* sensors show something real from the start */
    firmware_init(&board.firmware, "host", (uint32_t)FIRMWARE_ID,
                  (uint32_t)real.tv_sec ^ ((uint32_t)real.tv_nsec << 2) ^ ((uint32_t)getpid() << 16));
    open_pty();
    while (turn()) {
    }
    return 0;
}
