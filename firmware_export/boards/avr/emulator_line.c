/*
 * emulator_line.c - an ATmega's UART at a pseudo-terminal (common/line.h), and how fast virtual time goes: as fast as
 * the machine can, with one exception. Silence of the host longer than a part of the watchdog's time may not come about
 * faster than the host could have spoken. --paced: no faster than real time at all.
 */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_io.h>

#include "emulator.h"

#define CLOSED_POLL_US 2000

static struct uart {
    int ready; /* the chip takes another byte */
    uint8_t in[256];
    size_t in_used, in_at;
    avr_irq_t *to_chip;
    avr_cycle_count_t heard_cycle; /* last byte from the host, by both clocks */
    uint64_t heard_us;
} uart;

static void on_byte_out(avr_irq_t *irq, uint32_t value, void *param)
{
    const uint8_t byte = (uint8_t)value;
    (void)irq;
    (void)param;
    (void)line_write(&board.line, &byte, 1);
}

static void on_ready(avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)value;
    uart.ready = param != NULL;
}

void uart_start(void)
{
    avr_t *const avr = board.avr;
    uint32_t flags = 0;

    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POOL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    uart.to_chip = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte_out, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_ready, &uart);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_ready, NULL);
    uart.ready = 1;
    uart.heard_us = wall_us();
    line_open(&board.line);
}

void uart_restarted(void)
{
    uart.ready = 1;
    uart.in_at = uart.in_used;
    uart.heard_cycle = board_cycles(); /* a boot loader that listens for a second does so for a real one */
    uart.heard_us = wall_us();
}

void uart_pump(void)
{
    if (uart.in_at == uart.in_used) {
        uart.in_at = 0;
        uart.in_used = line_read(&board.line, uart.in, sizeof uart.in);
        if (uart.in_used > 0) {
            uart.heard_cycle = board_cycles();
            uart.heard_us = wall_us();
        }
    }
    while (uart.ready && uart.in_at < uart.in_used) {
        avr_raise_irq(uart.to_chip, uart.in[uart.in_at++]);
    }
    line_drain(&board.line);
}

/* Waits until the host speaks or `limit_us` have passed; ends the program when the world is gone. */
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
    fds[0].events = 0;
    fds[0].revents = 0;
    fds[1].fd = listening ? board.line.fd : -1;
    fds[1].events = POLLIN;
    fds[1].revents = 0;
    if (ppoll(fds, 2, &limit, NULL) > 0 && (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))) {
        errno = 0;
        die("the plant has closed its socket; the world is gone, so this program ends");
    }
}

void uart_look(void)
{
    wait_for_host(0);
}

/* Virtual silence beyond half of the watchdog's first stage must be real. */
void uart_keep_pace(void)
{
    const uint64_t allowed = board.options.paced || (board.bare && !board.torque_on) ? 0 : ROBOT_HOLD_US / 2;
    const uint64_t silent = (board_cycles() - uart.heard_cycle) / CYCLES_PER_US;
    const uint64_t real = wall_us() - uart.heard_us;
    if (silent > allowed && silent > real + 200u && uart.in_at == uart.in_used) {
        wait_for_host(silent - real);
    }
}
