/*
 * emulator_pins.c - the world at an ATmega's pins, as wiring.h says: encoders that give edges, voltages, the registers
 * of a sensor board at SPI; PWM, direction and power stage.
 *
 * The world moves one control period for each toggle of the tick pin while there is torque, and once more to see the
 * last command, so an episode here is the same as anywhere else.
 */
#include <string.h>

#include <simavr/avr_adc.h>
#include <simavr/avr_ioport.h>
#include <simavr/avr_spi.h>
#include <simavr/sim_io.h>

#include "chip.h"
#include "emulator.h"
#include "pin.h"
#include "wiring.h"

/* Between two edges of an encoder: so that a control period's are there before its end, and not faster than the chip can
 * count them. Its firmware counts an edge in some 180 cycles, and its other interrupts may come before that, each once,
 * with another 160. */
#define FASTEST_EDGES (25u * CYCLES_PER_US)
#define SLOWEST_EDGES (100u * CYCLES_PER_US)
#define CARRIED_EDGES (50u * CYCLES_PER_US) /* of a robot that is carried to its start */
#define EDGES_CYCLES (ROBOT_CONTROL_PERIOD_US * 6u / 10u * CYCLES_PER_US) /* for all edges of a control period */
#define START_CYCLES (50000u * CYCLES_PER_US) /* then the chip counts edges, and the robot is carried to its start */
#define ADC_STEPS 1023u
#define ENCODERS 2
#define SPI_REGISTERS 128
#define SPI_READ 0x80u

/* addresses in the data space, the same in all chips that have a board here */
#define REGISTER_GPIOR0 0x3E
#define REGISTER_GPIOR1 0x4A
#define REGISTER_TCCR1A 0x80
#define REGISTER_OCR1A 0x88
#define REGISTER_OCR1B 0x8A

static struct pins {
    avr_irq_t *encoder_pin[2 * ENCODERS]; /* both channels of encoder 0, then of 1 */
    int32_t at[ENCODERS];     /* where the edges given so far have taken the count */
    int32_t target[ENCODERS]; /* where the wheel is */
    avr_cycle_count_t edge_cycles; /* between two edges now */
    avr_irq_t *analogue[8];

    avr_irq_t *spi_in;
    uint8_t spi_register[SPI_REGISTERS]; /* of the sensor board */
    uint8_t spi_at;                      /* the one that is read next */
    int spi_addressed;                   /* the first byte since it was selected has come */

    uint32_t seed; /* of the episode, as its bytes come */
} pins;

/* ---- what the world gives ---- */

static void show_sensors(void)
{
    static const struct wire wires[ROBOT_SENSORS] = WIRING_SENSORS;
    int i;
    for (i = 0; i < ROBOT_SENSORS; i++) {
        const int32_t count = board.world.sensors[i];
        const uint8_t number = wires[i].number;
        if (wires[i].kind == WIRE_ENCODER) {
            pins.target[number] = count;
        } else if (wires[i].kind == WIRE_SPI) {
            pins.spi_register[number % SPI_REGISTERS] = (uint8_t)((uint32_t)count >> 8 & 0xFFu);
            pins.spi_register[(number + 1u) % SPI_REGISTERS] = (uint8_t)((uint32_t)count & 0xFFu);
        } else {
            /* the least voltage that converts to this count: simavr truncates, as the chip does */
            const uint32_t mv = ((uint32_t)count * AVCC_MV + ADC_STEPS - 1u) / ADC_STEPS;
            avr_raise_irq(pins.analogue[number], mv);
        }
    }
}

/* The robot has moved by itself in a control period: how far apart its edges are. */
static void set_pace(void)
{
    avr_cycle_count_t pace = SLOWEST_EDGES;
    int i;
    for (i = 0; i < ENCODERS; i++) {
        const int32_t way = pins.target[i] - pins.at[i];
        const uint32_t edges = (uint32_t)(way < 0 ? -way : way);
        if (edges > 0 && EDGES_CYCLES / edges < pace) {
            pace = EDGES_CYCLES / edges;
        }
    }
    pins.edge_cycles = pace < FASTEST_EDGES ? FASTEST_EDGES : pace;
}

/* Both channels of both encoders as they are now, driven against whatever pull-up the chip has switched on. Returns the
 * levels, a bit a channel: to be raised for an edge, and not at the start. An input that is low before the chip has chosen
 * edges interrupts simavr's ATmega2560 for ever. */
static uint32_t drive_encoders(void)
{
    static const uint8_t gray[4] = {0, 1, 3, 2};
    avr_ioport_external_t driven;
    uint32_t levels = 0;
    int i;
    for (i = 0; i < ENCODERS; i++) {
        levels |= (uint32_t)gray[pins.at[i] & 3] << (2 * i);
    }
    driven.name = (unsigned char)PIN_LETTER(ENCODERS_FROM) & 0x7Fu;
    driven.mask = (uint8_t)(0x0Fu << PIN_BIT(ENCODERS_FROM));
    driven.value = (uint8_t)(levels << PIN_BIT(ENCODERS_FROM));
    avr_ioctl(board.avr, (uint32_t)AVR_IOCTL_IOPORT_SET_EXTERNAL(PIN_LETTER(ENCODERS_FROM)), &driven);
    return levels;
}

/* A timer of simavr's, so that edges come exactly so far apart: avr_run() may run many instructions at a time. */
static avr_cycle_count_t give_edges(avr_t *avr, avr_cycle_count_t when, void *param)
{
    int i, moved = 0;
    (void)param;
    if (avr->data[ENCODERS_COUNTED] == 0) { /* a boot loader counts no edges, nor does firmware that starts */
        return when + START_CYCLES;
    }
    for (i = 0; i < ENCODERS; i++) {
        if (pins.at[i] != pins.target[i]) {
            pins.at[i] += pins.at[i] < pins.target[i] ? 1 : -1;
            moved = 1;
        }
    }
    if (moved) {
        const uint32_t levels = drive_encoders();
        for (i = 0; i < 2 * ENCODERS; i++) {
            avr_raise_irq(pins.encoder_pin[i], levels >> i & 1u);
        }
    }
    return when + pins.edge_cycles;
}

static void on_select(avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)param;
    if (value == 0) {
        pins.spi_addressed = 0;
    }
}

/* A byte from the chip, and one back in the same eight clocks: first the register's address, then what is in it and in
 * those behind it. */
static void on_spi(avr_irq_t *irq, uint32_t value, void *param)
{
    uint32_t back = 0xFF;
    (void)irq;
    (void)param;
    if (!pins.spi_addressed) {
        pins.spi_addressed = 1;
        pins.spi_at = (uint8_t)(value & ~SPI_READ & 0xFFu);
    } else {
        back = pins.spi_register[pins.spi_at];
        pins.spi_at = (uint8_t)((pins.spi_at + 1u) % SPI_REGISTERS);
    }
    avr_raise_irq(pins.spi_in, back);
}

/* ---- what the world gets ---- */

/* Level that the chip gives to an output. */
static int output(char port, unsigned bit)
{
    avr_ioport_state_t state;
    avr_ioctl(board.avr, (uint32_t)AVR_IOCTL_IOPORT_GETSTATE(port), &state);
    return (int)((unsigned)state.port >> bit & 1u);
}
#define OUTPUT(pin) output(PIN_LETTER(pin), PIN_BIT(pin))

/* What the motors get, as their drivers would see it. */
static void read_motors(int32_t *actuators)
{
    static const struct wire wires[ROBOT_ACTUATORS] = WIRING_ACTUATORS;
    const uint8_t *const data = board.avr->data;
    int i;
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        const int second = wires[i].number != 0;
        const int at = second ? REGISTER_OCR1B : REGISTER_OCR1A;
        const int connected = data[REGISTER_TCCR1A] >> (second ? 5 : 7) & 1;
        const int32_t duty = connected ? data[at] | data[at + 1] << 8 : 0;
        const int reverse = second ? OUTPUT(MOTOR_1_REVERSE) : OUTPUT(MOTOR_0_REVERSE);
        actuators[i] = reverse ? -duty : duty;
    }
}

static void on_tick(avr_irq_t *irq, uint32_t value, void *param)
{
    int32_t actuators[ROBOT_ACTUATORS];
    const int torque_on = OUTPUT(POWER_STAGE);
    int changed;
    (void)irq;
    (void)value;
    (void)param;
    read_motors(actuators);
    changed = torque_on != board.torque_on || memcmp(actuators, board.actuators, sizeof actuators) != 0;
    if (torque_on && board.options.unplug_episode == board.episodes && board.options.unplug_tick == board.ticks &&
        board.line.fd >= 0 && board.episodes > 0) {
        line_unplug(&board.line);
    }
    memcpy(board.actuators, actuators, sizeof actuators);
    board.torque_on = torque_on;
    if (torque_on || changed || board.options.paced) {
        world_request(&board.world, 'S', 0, board_us(), actuators, torque_on);
        show_sensors();
        set_pace();
    }
    board.ticks++;
}

/* The firmware writes the episode's seed byte by byte, each followed by its number from 1 on. */
static void on_episode(avr_t *avr, avr_io_addr_t address, uint8_t value, void *param)
{
    (void)param;
    avr->data[address] = value;
    pins.seed = pins.seed >> 8 | (uint32_t)avr->data[REGISTER_GPIOR1] << 24;
    if (value == 4) {
        world_request(&board.world, 'R', pins.seed, board_us(), board.actuators, board.torque_on);
        show_sensors();
        pins.edge_cycles = CARRIED_EDGES;
        board.episodes++;
        board.ticks = 0;
    }
}

/* ---- start ---- */

static avr_irq_t *pin(char port, int bit)
{
    return avr_io_getirq(board.avr, (uint32_t)AVR_IOCTL_IOPORT_GETIRQ(port), bit);
}
#define PIN(name) pin(PIN_LETTER(name), PIN_BIT(name))

void pins_start(void)
{
    avr_t *const avr = board.avr;
    int i;

    for (i = 0; i < 2 * ENCODERS; i++) {
        pins.encoder_pin[i] = pin(PIN_LETTER(ENCODERS_FROM), PIN_BIT(ENCODERS_FROM) + i);
    }
    (void)drive_encoders();
    for (i = 0; i < 8; i++) {
        pins.analogue[i] = avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0 + i);
    }
    pins.spi_in = avr_io_getirq(avr, AVR_IOCTL_SPI_GETIRQ('0'), SPI_IRQ_INPUT);
    if (pins.spi_in == NULL) { /* so it is called where a chip has one only */
        pins.spi_in = avr_io_getirq(avr, AVR_IOCTL_SPI_GETIRQ(0), SPI_IRQ_INPUT);
    }
    avr_irq_register_notify(pins.spi_in + (SPI_IRQ_OUTPUT - SPI_IRQ_INPUT), on_spi, NULL);
    avr_irq_register_notify(PIN(SPI_SELECT), on_select, NULL);
    avr_irq_register_notify(PIN(TICK), on_tick, NULL);
    avr_register_io_write(avr, REGISTER_GPIOR0, on_episode, NULL);
    avr_cycle_timer_register(avr, START_CYCLES, give_edges, NULL);
    memcpy(board.actuators, robot_safe, sizeof board.actuators);
    pins.edge_cycles = CARRIED_EDGES;
    world_request(&board.world, 'R', 0, 0, board.actuators, 0);
    show_sensors();
}

void pins_restarted(void)
{
    memset(pins.at, 0, sizeof pins.at);
    pins.edge_cycles = CARRIED_EDGES;
    (void)drive_encoders();
    avr_cycle_timer_register(board.avr, START_CYCLES, give_edges, NULL);
    show_sensors();
}
