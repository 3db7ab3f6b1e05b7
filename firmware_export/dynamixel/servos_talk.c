#include "servos_talk.h"

#include "protocol.h"

/* what goes to all servos fits a packet: no array has a negative length */
typedef char profiles_fit[14 + 9 * WIRING_SERVOS < (int)DXL_MAX_PACKET ? 1 : -1];

const uint8_t servos_ids[SERVOS_MEMBERS] = WIRING_IDS;
const int8_t servos_signs[WIRING_SERVOS] = WIRING_SIGNS;
const uint16_t servos_efforts[WIRING_SERVOS] = WIRING_EFFORTS;

void servos_blame(struct servos *servos, uint8_t fault, uint32_t detail)
{
    if (servos->fault == FAULT_NONE) { /* the first one says most */
        servos->fault = fault;
        servos->detail = detail;
    }
}

void servos_lose(struct servos *servos, int member)
{
    servos->lost[member] = 1;
    servos_blame(servos, FAULT_BUS_LOST, servos_ids[member]);
}

void servos_write_all(struct servos *servos, uint16_t address, const uint8_t *value, uint16_t size)
{
    struct dxl_packet packet;
    int i;
    uint16_t k;

    dxl_begin(&packet, DXL_BROADCAST, DXL_SYNC_WRITE);
    dxl_u16(&packet, address);
    dxl_u16(&packet, size);
    for (i = 0; i < WIRING_SERVOS; i++) {
        dxl_u8(&packet, servos_ids[i]);
        for (k = 0; k < size; k++) {
            dxl_u8(&packet, value[k]);
        }
    }
    (void)dxl_send(&servos->bus, &packet);
}

void servos_write_byte_all(struct servos *servos, uint16_t address, uint8_t value)
{
    servos_write_all(servos, address, &value, 1);
}

enum dxl_result servos_write_one(struct servos *servos, int i, uint16_t address, int32_t value, unsigned size)
{
    const int rounds = servos->lost[i] ? 0 : SERVOS_ROUNDS;
    enum dxl_result result = DXL_SILENT;
    struct dxl_status status;
    int round;

    for (round = 0; round <= rounds && (result == DXL_SILENT || result == DXL_UNSENT); round++) {
        result = dxl_write(&servos->bus, servos_ids[i], address, value, size, &status);
    }
    return result;
}

enum dxl_result servos_read_one(struct servos *servos, int i, uint16_t address, uint16_t length,
                                struct dxl_status *status)
{
    enum dxl_result result = DXL_SILENT;
    int round;

    for (round = 0; round <= SERVOS_ROUNDS && (result == DXL_SILENT || result == DXL_UNSENT); round++) {
        result = dxl_read(&servos->bus, servos_ids[i], address, length, status);
    }
    return result;
}
