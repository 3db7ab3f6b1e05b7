/*
 * hal_mps2.c - the firmware on a Cortex-M4F, an MPS2 board with the AN386 image, as QEMU has it.
 *
 * UART 0 is the line to the host. UART 1 leads to the simulated world, in the records of common/record.h. Received bytes
 * come by interrupt; the main loop sleeps while there is nothing to do. Time is virtual (virtual/lockstep.h).
 */
#include "hal.h"
#include "lockstep.h"
#include "mps2.h"
#include "record.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif

#define RING_BYTES 1024u /* a power of two */
#define BAUD 1000000u
#define STORE_SIZE 65536u
#define SEND_TRIES 100000u      /* a byte leaves within some hundred turns, or the line is broken */
#define SETTLE_MS 20u           /* an answer on its way comes within a tenth of that */
#define WORLD_LIMIT_US 10000000u /* a world that does not answer for so long is gone */

struct ring {
    volatile uint8_t bytes[RING_BYTES];
    volatile uint32_t in, out;
};

static struct ring host, world;
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

static void receive(uint32_t uart, struct ring *ring)
{
    UART_INTSTATUS(uart) = UART_INT_RX;
    while (UART_STATE(uart) & UART_RX_FULL) {
        const uint8_t byte = (uint8_t)UART_DATA(uart);
        if (ring->in - ring->out < RING_BYTES) {
            ring->bytes[ring->in % RING_BYTES] = byte;
            ring->in = ring->in + 1u;
        }
    }
}

void on_uart0_receive(void)
{
    receive(UART0, &host);
}

void on_uart1_receive(void)
{
    receive(UART1, &world);
}

/* ---- bytes ---- */

static size_t take(struct ring *ring, uint8_t *data, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && ring->out != ring->in) {
        data[count++] = ring->bytes[ring->out % RING_BYTES];
        ring->out = ring->out + 1u;
    }
    return count;
}

static int give(uint32_t uart, const uint8_t *data, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) {
        uint32_t tries;
        for (tries = 0; UART_STATE(uart) & UART_TX_FULL; tries++) {
            if (tries == SEND_TRIES) {
                return 0;
            }
        }
        UART_DATA(uart) = data[i];
    }
    return 1;
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    return take(&host, data, capacity);
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    return give(UART0, data, length);
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

/* ---- lockstep.h ---- */

uint64_t board_wall_us(void)
{
    static uint64_t latest;
    uint32_t before, now, left, waits;
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
    time_us = (uint64_t)now * 1000u + (CLOCK_HZ / 1000u - 1u - left) / (CLOCK_HZ / 1000000u);
    if (time_us > latest) { /* a clock that steps back would make a short wait look like an endless one */
        latest = time_us;
    }
    return latest;
}

/* Until something happens: an interrupt ends it at once, the next millisecond in any case. */
static void doze(const struct ring *ring)
{
    __asm volatile("cpsid i" ::: "memory");
    if (ring->in == ring->out) {
        __asm volatile("wfi" ::: "memory");
    }
    __asm volatile("cpsie i\n\tisb" ::: "memory");
}

void board_wait(uint64_t limit_us)
{
    const uint64_t start = board_wall_us();
    while (host.in == host.out && board_wall_us() - start < limit_us) {
        doze(&host);
    }
}

void board_world(char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators, int torque_on,
                 int32_t *sensors)
{
    uint8_t request[REQUEST_BYTES];
    uint8_t reply[REPLY_BYTES];
    const uint64_t start = board_wall_us();
    size_t got = 0;

    record_request(request, kind, episode_seed, time_us, actuators, torque_on);
    (void)give(UART1, request, sizeof request);
    while (got < sizeof reply) {
        got += take(&world, reply + got, sizeof reply - got);
        if (got < sizeof reply) {
            if (board_wall_us() - start > WORLD_LIMIT_US) {
                AIRCR = AIRCR_KEY | AIRCR_SYSRESETREQ; /* start again, and ask again */
            }
            doze(&world);
        }
    }
    record_reply(reply, sensors);
}

int board_tick(unsigned episode, unsigned tick)
{
    (void)episode;
    (void)tick;
    return 1; /* a chip does not know whether its cable is plugged in */
}

int main(void)
{
    SYST_RVR = CLOCK_HZ / 1000u - 1u;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_RUN;
    UART_BAUDDIV(UART0) = CLOCK_HZ / BAUD;
    UART_BAUDDIV(UART1) = CLOCK_HZ / BAUD;
    UART_CTRL(UART0) = UART_ENABLE;
    UART_CTRL(UART1) = UART_ENABLE;
    NVIC_ISER0 = (1u << UART0_RX_IRQ) | (1u << UART1_RX_IRQ);
    while (milliseconds < SETTLE_MS) { /* what the world still had to say to the chip before the reset */
        doze(&world);
        world.out = world.in;
    }
    kept.resets++;
    lockstep_start("mps2_an386", (uint32_t)FIRMWARE_ID, kept.boots + kept.resets, kept.paced == 1u);
    for (;;) {
        (void)lockstep_turn();
    }
}
