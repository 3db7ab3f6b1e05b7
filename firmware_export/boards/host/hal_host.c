/*
 * hal_host.c - the firmware as a Linux program.
 *
 *   firmware --plant-fd N [--paced] [--unplug-at EPISODE:TICK]
 *
 * The serial line is a pseudo-terminal (common/line.h), the physical world at the other end of the inherited socket N
 * (common/world.h).
 *
 * Lock-step, the default: time is virtual. In RUN and HOLD it moves by one control period a plant step, as fast as
 * the plant answers, but the watchdog must not see a silence that was none: time since the last keep-alive reaches
 * ROBOT_HOLD_US only if the host has really been silent for that long. So an episode repeats bit for bit, however slow
 * the host is. In the other states time follows the wall clock and the world rests, but for the one step that shows it
 * the last command. --paced: time is the wall clock and the world always moves.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "firmware.h"
#include "hal.h"
#include "line.h"
#include "options.h"
#include "world.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif

#define PERIOD ((uint64_t)ROBOT_CONTROL_PERIOD_US)
#define CLOSED_POLL_US 2000 /* a closed pty reports itself without pause: look again this often */

static struct board {
    struct firmware firmware;
    struct line line;
    struct world world;
    struct options options;

    uint64_t time_us;    /* the controller's clock */
    uint64_t offset_us;  /* wall clock minus controller's clock, while that follows it */
    uint64_t next_tick_us;
    uint64_t alive_wall_us; /* wall clock at the last sign of life */
    uint32_t alive_us;      /* firmware.alive_us at that moment */

    int32_t actuators[ROBOT_ACTUATORS];
    int torque_on;
    int dirty; /* the plant has not seen the last command yet */
    int fresh; /* the sensors belong to a control period that has not been run yet */

    unsigned episodes;
} board;

static void plant_request(char kind, uint32_t episode_seed)
{
    world_request(&board.world, kind, episode_seed, board.time_us, board.actuators, board.torque_on);
    board.dirty = 0;
}

/* ---- hal.h ---- */

void hal_sense(int32_t *sensors)
{
    memcpy(sensors, board.world.sensors, sizeof board.world.sensors);
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

int hal_uart_write(const uint8_t *data, size_t length)
{
    return line_write(&board.line, data, length);
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    return line_read(&board.line, data, capacity);
}

/* ---- time ---- */

/* Waits for bytes from the host, at most `limit_us`. Ends the program when the plant is gone. */
static void wait_for_host(uint64_t limit_us)
{
    struct pollfd fds[2];
    struct timespec limit;
    const int listening = board.line.fd >= 0 && !board.line.closed;

    if (!listening && limit_us > CLOSED_POLL_US) {
        limit_us = CLOSED_POLL_US;
    }
    limit.tv_sec = (time_t)(limit_us / 1000000u);
    limit.tv_nsec = (long)(limit_us % 1000000u) * 1000;
    fds[0].fd = board.world.fd;
    fds[0].events = 0; /* only its end */
    fds[0].revents = 0;
    fds[1].fd = listening ? board.line.fd : -1;
    fds[1].events = (short)(POLLIN | (board.line.used > 0 ? POLLOUT : 0));
    fds[1].revents = 0;
    if (ppoll(fds, 2, &limit, NULL) <= 0) {
        return;
    }
    if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
        errno = 0;
        die("the plant has closed its socket; the world is gone, so this program ends");
    }
    if (listening) {
        line_drain(&board.line);
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
    if (!board.options.paced) {
        board.time_us += PERIOD;
        board.offset_us -= PERIOD;
    }
}

static void unplug_if_due(void)
{
    const struct episode *episode = &board.firmware.episode;
    const unsigned tick = episode->begun ? episode->tick + 1u : 0u;

    if (board.line.fd >= 0 && board.options.unplug_episode == board.episodes && board.options.unplug_tick == tick) {
        line_unplug(&board.line);
    }
}

static void run_tick(void)
{
    if (board.options.unplug_episode > 0 && safety_torque(board.firmware.state)) {
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
    const int virtual_time = safety_torque(firmware->state) && !board.options.paced;
    uint64_t wait;

    if (virtual_time) {
        board.offset_us = wall - board.time_us;
    } else {
        board.time_us = wall - board.offset_us;
        if (board.dirty && !board.options.paced) {
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
    if (safety_torque(firmware->state) && !board.options.paced) {
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
        if (board.options.paced) {
            step();
        }
        run_tick();
        if (board.time_us < due + PERIOD) {
            board.next_tick_us = due + PERIOD; /* absolute deadlines do not drift */
        }
        return 1;
    }
    if (board.line.fd < 0 && !safety_torque(firmware->state) && !board.dirty) {
        return 0; /* unplugged, and the actuators are released */
    }
    wait_for_host(board.dirty && !board.options.paced ? 0 : board.next_tick_us - board.time_us);
    return 1;
}

/* ---- start ---- */

int main(int argc, char **argv)
{
    const uint64_t start = wall_us();
    struct timespec real;

    board.options = options_parse(argc, argv, 1, "usage: firmware --plant-fd N [--paced] [--unplug-at EPISODE:TICK]");
    board.world.fd = board.options.plant_fd;
    clock_gettime(CLOCK_REALTIME, &real);
    board.offset_us = start;
    memcpy(board.actuators, robot_safe, sizeof board.actuators);
    plant_request('R', 0); /* sensors show something real from the start */
    firmware_init(&board.firmware, "host", (uint32_t)FIRMWARE_ID,
                  (uint32_t)real.tv_sec ^ ((uint32_t)real.tv_nsec << 2) ^ ((uint32_t)getpid() << 16));
    line_open(&board.line);
    while (turn()) {
    }
    return 0;
}
