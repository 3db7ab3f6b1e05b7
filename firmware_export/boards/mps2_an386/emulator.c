/*
 * emulator.c - an MPS2 board in QEMU, between a pseudo-terminal and the simulated world.
 *
 *   emulator IMAGE.elf|gdb:PORT --plant-fd N [--bus-fd N] [--paced] [--unplug-at EPISODE:TICK]
 *
 * With gdb:PORT the board is empty and halted, and a debugger at that TCP port of this machine loads and starts it.
 *
 * QEMU runs as a child that dies with this program. Its UART 0 is the pseudo-terminal (common/line.h); its UART 1 the
 * servo bus, which is at the other end of an inherited socket and passes by this program; what its UART 2 asks of the
 * world is passed on record by record, which is how this program knows when to pull the cable.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "button.h"
#include "line.h"
#include "options.h"
#include "record.h"
#include "wiring.h"
#include "world.h"

#if WIRING_BUS
#define ASKED_BYTES TIME_BYTES
#define ANSWERED_BYTES TIME_REPLY_BYTES
#else
#define ASKED_BYTES REQUEST_BYTES
#define ANSWERED_BYTES REPLY_BYTES
#endif
#define KEPT_ADDRESS "0x203e0000" /* as in mps2_an386.ld */
#define PACED_ADDRESS "0x203e0004"
#define CLOSED_POLL_MS 2
#define USAGE "usage: emulator IMAGE.elf|gdb:PORT --plant-fd N [--bus-fd N] [--paced] [--unplug-at EPISODE:TICK]"
#define COMMON_WORDS 26 /* of QEMU's command, before what differs */

static struct board {
    struct line line;
    struct options options;
    int uart0, uart2, monitor; /* the other ends of QEMU's */
    pid_t qemu;
    uint8_t request[ASKED_BYTES];
    size_t request_used;
    unsigned started, episodes, ticks;
    int torque_on;
    int resetting; /* asked for, and not done yet */
    char told[128]; /* the end of what QEMU's monitor said */
} board;

static void pair(int *ours, int *theirs)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
        die("no socket to be had");
    }
    *ours = fds[0];
    *theirs = fds[1];
}

/* A socket at which QEMU's debugger interface listens: made here, so that a port that is taken is said at once. */
static int listen_at(const char *number)
{
    struct sockaddr_in address;
    const int one = 1;
    unsigned port;
    char rest;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    errno = 0;
    if (sscanf(number, "%u%c", &port, &rest) != 1 || port == 0 || port > 65535u) {
        die("gdb:PORT: the port is a number from 1 to 65535");
    }
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* without a delay, which connections inherit: a debugger waits for each of many small answers */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) {
        die("the debugger's TCP port cannot be had, choose another one");
    }
    return fd;
}

static void all(int fd, const uint8_t *data, size_t length, const char *gone)
{
    size_t done = 0;
    while (done < length) {
        const ssize_t n = send(fd, data + done, length - done, MSG_NOSIGNAL);
        if (n > 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            die(gone);
        }
    }
}

static void start_qemu(char *image)
{
    char chardev[5][64], boots[96], paced[96];
    struct timespec real;
    const int bare = strncmp(image, "gdb:", 4) == 0;
    int uart0, uart2, monitor, debugger = -1;
    static const char hello[] = "{\"execute\": \"qmp_capabilities\"}\n";

    if (bare) {
        debugger = listen_at(image + 4);
    }
    pair(&board.uart0, &uart0);
    pair(&board.uart2, &uart2);
    pair(&board.monitor, &monitor);
    clock_gettime(CLOCK_REALTIME, &real);
    (void)snprintf(chardev[0], sizeof chardev[0], "socket,id=u0,fd=%d", uart0);
    if (WIRING_BUS) {
        (void)snprintf(chardev[1], sizeof chardev[1], "socket,id=u1,fd=%d", board.options.bus_fd);
    } else {
        (void)snprintf(chardev[1], sizeof chardev[1], "null,id=u1");
    }
    (void)snprintf(chardev[2], sizeof chardev[2], "socket,id=u2,fd=%d", uart2);
    (void)snprintf(chardev[3], sizeof chardev[3], "socket,id=monitor,fd=%d", monitor);
    (void)snprintf(chardev[4], sizeof chardev[4], "socket,id=g,fd=%d,server=on,wait=off", debugger);
    (void)snprintf(boots, sizeof boots, "loader,addr=" KEPT_ADDRESS ",data=%lu,data-len=4",
                   ((unsigned long)real.tv_sec ^ (unsigned long)real.tv_nsec << 2 ^ (unsigned long)getpid() << 16) &
                       0xFFFFFFFFul);
    (void)snprintf(paced, sizeof paced, "loader,addr=" PACED_ADDRESS ",data=%d,data-len=4", board.options.paced);
    board.qemu = fork();
    if (board.qemu < 0) {
        die("QEMU cannot be started");
    }
    if (board.qemu == 0) {
        char *command[COMMON_WORDS + 6] = {
            "qemu-system-arm", "-M", "mps2-an386", "-nodefaults", "-display", "none", "-device", boots, "-device", paced,
            "-chardev", chardev[0], "-serial", "chardev:u0", "-chardev", chardev[1], "-serial", "chardev:u1", "-chardev",
            chardev[2], "-serial", "chardev:u2", "-chardev", chardev[3], "-mon", "chardev=monitor,mode=control"};
        char *const loaded[] = {"-kernel", image, NULL, NULL, NULL, NULL};
        char *const empty[] = {"-S", "-chardev", chardev[4], "-gdb", "chardev:g", NULL};
        memcpy(command + COMMON_WORDS, bare ? empty : loaded, sizeof empty);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* our standard output says one thing: the port */
        close(board.uart0);
        close(board.uart2);
        close(board.monitor);
        execvp(command[0], command);
        die("qemu-system-arm cannot be started; on Debian: apt-get install qemu-system-arm");
    }
    close(uart0);
    close(uart2);
    close(monitor);
    if (debugger >= 0) {
        close(debugger);
    }
    if (board.options.bus_fd >= 0) {
        close(board.options.bus_fd); /* QEMU's alone: the servos see its end when QEMU ends */
    }
    all(board.monitor, (const uint8_t *)hello, sizeof hello - 1, "QEMU has ended");
}

/* A whole request: to the world, and its answer back; the cable is pulled between the two. Returns 0 when the line is
 * gone and the motors have been released. */
static int pass_on(void)
{
    uint8_t reply[ANSWERED_BYTES];
    size_t got = 0;

    board.torque_on = board.request[1];
    all(board.options.plant_fd, board.request, sizeof board.request, "the world is gone, so this program ends");
    while (got < sizeof reply) {
        const ssize_t n = recv(board.options.plant_fd, reply + got, sizeof reply - got, 0);
        if (n > 0) {
            got += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            errno = 0;
            die("the plant has closed its socket; the world is gone, so this program ends");
        }
    }
    if (board.request[0] == 'R') {
        board.episodes += board.started; /* the first reset is that of the start */
        board.started = 1;
        board.ticks = 0;
    } else {
        board.ticks++;
    }
    if (board.line.fd >= 0 && board.options.unplug_episode > 0 && board.episodes == board.options.unplug_episode &&
        board.ticks == board.options.unplug_tick) {
        line_unplug(&board.line);
    }
    all(board.uart2, reply, sizeof reply, "QEMU has ended");
    return board.line.fd >= 0 || board.torque_on;
}

/* Asks QEMU for a reset. What the chip says to the world until it is done is that of the chip before. */
static void begin_reset(void)
{
    static const uint8_t command[] = "{\"execute\": \"system_reset\"}\n";
    board.resetting = 1;
    all(board.monitor, command, sizeof command - 1, "QEMU has ended");
}

/* What QEMU's monitor says; of interest is the event RESET. */
static void from_monitor(void)
{
    const size_t kept = strlen(board.told);
    uint8_t stale[1024];
    const ssize_t n = recv(board.monitor, board.told + kept, sizeof board.told - 1 - kept, 0);

    if (n <= 0) {
        errno = 0;
        die("QEMU has ended");
    }
    board.told[kept + (size_t)n] = '\0';
    if (board.resetting && strstr(board.told, "\"RESET\"") != NULL) {
        while (recv(board.uart2, stale, sizeof stale, MSG_DONTWAIT) > 0) {
        }
        board.request_used = 0;
        board.resetting = 0;
        board.told[0] = '\0';
    } else if (kept + (size_t)n > 16) { /* the word may be cut in two */
        memmove(board.told, board.told + kept + (size_t)n - 16, 17);
    }
}

/* Bytes of the board's UART 1, as they come. */
static int from_world_uart(void)
{
    const ssize_t n = recv(board.uart2, board.request + board.request_used, sizeof board.request - board.request_used, 0);
    if (n <= 0) {
        errno = 0;
        die("QEMU has ended");
    }
    if (board.resetting) {
        return 1;
    }
    board.request_used += (size_t)n;
    if (board.request_used < sizeof board.request) {
        return 1;
    }
    board.request_used = 0;
    return pass_on();
}

static void from_host_uart(void)
{
    uint8_t data[1024];
    const ssize_t n = recv(board.uart0, data, sizeof data, 0);
    if (n <= 0) {
        errno = 0;
        die("QEMU has ended");
    }
    (void)line_write(&board.line, data, (size_t)n);
}

int main(int argc, char **argv)
{
    int going = 1;

    board.options = options_parse(argc, argv, 2, USAGE);
    if (WIRING_BUS != (board.options.bus_fd >= 0)) {
        errno = 0;
        die(WIRING_BUS ? "this image has a servo bus: --bus-fd is missing (bus.json, beside the image, describes it)"
                       : "this image has no servo bus, but --bus-fd was given");
    }
    board.line.fd = -1;
    button_watch();
    start_qemu(argv[1]);
    line_open(&board.line);
    while (going) {
        const int listening = board.line.fd >= 0 && !board.line.closed;
        struct pollfd fds[5] = {
            {board.options.plant_fd, 0, 0},
            {board.uart2, POLLIN, 0},
            {board.uart0, POLLIN, 0},
            {listening ? board.line.fd : -1, (short)(POLLIN | (board.line.used > 0 ? POLLOUT : 0)), 0},
            {board.monitor, POLLIN, 0},
        };
        uint8_t data[1024];
        size_t count;

        if (button_pressed()) {
            begin_reset();
        }
        if (poll(fds, 5, listening || board.line.fd < 0 ? 1000 : CLOSED_POLL_MS) < 0) {
            if (errno != EINTR) {
                die("poll");
            }
            continue;
        }
        if (fds[4].revents) {
            from_monitor();
        }
        if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
            errno = 0;
            die("the plant has closed its socket; the world is gone, so this program ends");
        }
        if (fds[2].revents) {
            from_host_uart();
        }
        if (fds[1].revents) {
            going = from_world_uart();
        }
        count = line_read(&board.line, data, sizeof data);
        if (count > 0) {
            all(board.uart0, data, count, "QEMU has ended");
        }
        line_drain(&board.line);
    }
    kill(board.qemu, SIGKILL);
    return 0;
}
