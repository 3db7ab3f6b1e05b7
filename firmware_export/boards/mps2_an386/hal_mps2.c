/*
 * hal_mps2.c - the firmware on a Cortex-M4F, an MPS2 board with the AN386 image, as QEMU has it.
 *
 * UART 0 is the line to the host, UART 1 a servo bus, UART 2 leads to the simulated world (uarts.h). Received bytes come
 * by interrupt; the main loop sleeps while there is nothing to do. Time is virtual (virtual/lockstep.h). How a control
 * period reaches the robot's body is in world_record.c or world_bus.c.
 */
#include "hal.h"
#include "lockstep.h"
#include "mps2.h"
#include "uarts.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif

#define RING_BYTES 1024u /* a power of two */
#define BAUD 1000000u
#define STORE_SIZE 65536u
#define SETTLE_MS 20u            /* an answer on its way comes within a tenth of that */
#define WORLD_LIMIT_US 10000000u /* a world that does not answer for so long is gone */
/* A main loop that hangs ends in a reset, and a reset in released actuators. The emulator's clock goes on while this
 * machine has no time for it: with less, a busy computer would look like a main loop that hangs. */
#define WATCHDOG_MS 2000u
#define SEND_TRIES 100000u      /* a byte leaves within some hundred turns, or the line is broken */

struct ring {
    volatile uint8_t bytes[RING_BYTES];
    volatile uint32_t in, out;
};

static struct ring rings[3];
static const uint32_t bases[3] = {UART0, UART1, UART2};
static volatile uint32_t milliseconds;

/* What stays over a reset. The emulator writes the first two at each start and each reset; on a chip it is whatever was
 * there. The resets are counted here, so that the starts of one board are told apart. */
__attribute__((section(".kept"))) static volatile struct {
    uint32_t boots;
    uint32_t paced;
    uint32_t resets;
    uint8_t store[STORE_SIZE];
} kept;

/* ---- interrupts ---- */

void on_systick(void)
{
    milliseconds++;
}

static void receive(unsigned uart)
{
    struct ring *const ring = &rings[uart];

    UART_INTSTATUS(bases[uart]) = UART_INT_RX;
    while (UART_STATE(bases[uart]) & UART_RX_FULL) {
        const uint8_t byte = (uint8_t)UART_DATA(bases[uart]);
        if (ring->in - ring->out < RING_BYTES) {
            ring->bytes[ring->in % RING_BYTES] = byte;
            ring->in = ring->in + 1u;
        }
    }
}

void on_uart0_receive(void)
{
    receive(HOST_UART);
}

void on_uart1_receive(void)
{
    receive(BUS_UART);
}

void on_uart2_receive(void)
{
    receive(WORLD_UART);
}

/* ---- uarts.h ---- */

size_t uart_read(unsigned uart, uint8_t *data, size_t capacity)
{
    struct ring *const ring = &rings[uart];
    size_t count = 0;
    while (count < capacity && ring->out != ring->in) {
        data[count++] = ring->bytes[ring->out % RING_BYTES];
        ring->out = ring->out + 1u;
    }
    return count;
}

static int wait_for_room(unsigned uart)
{
    uint32_t tries;
    for (tries = 0; UART_STATE(bases[uart]) & UART_TX_FULL; tries++) {
        if (tries == SEND_TRIES) {
            return 0;
        }
    }
    return 1;
}

int uart_write(unsigned uart, const uint8_t *data, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) {
        if (!wait_for_room(uart)) {
            return 0;
        }
        UART_DATA(bases[uart]) = data[i];
    }
    return wait_for_room(uart);
}

static void feed_watchdog(void)
{
    WATCHDOG_LOAD = CLOCK_HZ / 1000u * WATCHDOG_MS;
}

static void start_watchdog(void)
{
    WATCHDOG_LOCK = WATCHDOG_UNLOCK;
    feed_watchdog();
    WATCHDOG_CONTROL = WATCHDOG_ENABLE;
}

/* Whoever sleeps has a limit of its own to it, up to ten seconds where the world is slow: that is not hanging. */
void uart_doze(unsigned uart)
{
    feed_watchdog();
    __asm volatile("cpsid i" ::: "memory");
    if (rings[uart].in == rings[uart].out) {
        __asm volatile("wfi" ::: "memory");
    }
    __asm volatile("cpsie i\n\tisb" ::: "memory");
}

/* ---- hal.h ---- */

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    return uart_read(HOST_UART, data, capacity);
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    return uart_write(HOST_UART, data, length);
}

/* Memory that a reset leaves alone: this board has no other. */
uint32_t hal_store_size(void)
{
    return STORE_SIZE;
}

void hal_store_read(uint32_t at, uint8_t *data, uint32_t length)
{
    uint32_t i;
    for (i = 0; i < length; i++) {
        data[i] = kept.store[at + i];
    }
}

void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    uint32_t i;
    for (i = 0; i < length; i++) {
        kept.store[at + i] = data[i];
    }
}

/* Of the 32 KB that start.c has painted. */
void hal_stack(uint16_t *used, uint16_t *left)
{
    extern uint32_t stack_top[], stack_limit[];
    const uint32_t *at = stack_limit;
    while (at < stack_top && *at == STACK_PAINT) {
        at++;
    }
    *left = (uint16_t)(4u * (uint32_t)(at - stack_limit));
    *used = (uint16_t)(4u * (uint32_t)(stack_top - at));
}

/* ---- lockstep.h ---- */

uint64_t board_wall_us(void)
{
    static uint64_t latest;
    uint32_t before, now, left, waits, within_us;
    uint64_t time_us;

    do { /* again if a millisecond went by in between */
        before = milliseconds;
        left = SYST_CVR;
        waits = ICSR & ICSR_PENDSTSET;
        now = milliseconds;
    } while (before != now);
    if (waits && left > CLOCK_HZ / 2000u) {
        now++; /* the counter has begun anew, and its interrupt has not been served yet */
    }
    within_us = (CLOCK_HZ / 1000u - 1u - left) / (CLOCK_HZ / 1000000u);
    time_us = (uint64_t)now * 1000u + within_us;
    if (time_us > latest) { /* a clock that steps back would make a short wait look like an endless one */
        latest = time_us;
    }
    return latest;
}

void board_wait(uint64_t limit_us)
{
    const uint64_t start = board_wall_us();
    while (rings[HOST_UART].in == rings[HOST_UART].out && board_wall_us() - start < limit_us) {
        uart_doze(HOST_UART);
    }
}

void world_exchange(const uint8_t *request, size_t length, uint8_t *reply, size_t expected)
{
    const uint64_t start = board_wall_us();
    size_t got = 0;

    (void)uart_write(WORLD_UART, request, length);
    while (got < expected) {
        got += uart_read(WORLD_UART, reply + got, expected - got);
        if (got < expected) {
            if (board_wall_us() - start > WORLD_LIMIT_US) {
                AIRCR = AIRCR_KEY | AIRCR_SYSRESETREQ; /* start again, and ask again */
            }
            uart_doze(WORLD_UART);
        }
    }
}

int board_tick(unsigned episode, unsigned tick)
{
    (void)episode;
    (void)tick;
    return 1; /* a chip does not know whether its cable is plugged in */
}

int main(void)
{
    unsigned uart;

    start_watchdog();
    SYST_RVR = CLOCK_HZ / 1000u - 1u;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_RUN;
    for (uart = 0; uart < sizeof bases / sizeof bases[0]; uart++) {
        UART_BAUDDIV(bases[uart]) = CLOCK_HZ / (uart == BUS_UART ? world_bus_baud() : BAUD);
        UART_CTRL(bases[uart]) = UART_ENABLE;
    }
    NVIC_ISER0 = (1u << UART0_RX_IRQ) | (1u << UART1_RX_IRQ) | (1u << UART2_RX_IRQ);
    while (milliseconds < SETTLE_MS) { /* what the world still had to say to the chip before the reset */
        uart_doze(WORLD_UART);
        rings[WORLD_UART].out = rings[WORLD_UART].in;
    }
    kept.resets++;
    world_start(kept.paced == 1u);
    lockstep_start("mps2_an386", (uint32_t)FIRMWARE_ID, kept.boots + kept.resets, kept.paced == 1u);
    for (;;) {
        feed_watchdog();
        (void)lockstep_turn();
        world_rest();
    }
}
