/* port.h - what the image needs of the machine that it runs on. */
#ifndef PORT_H
#define PORT_H

#include <stdint.h>

void port_start(void);
void port_end(void);
void port_put(char character);

/* What lies between them is counted: instructions on a Cortex-M4, cycles on an AVR. port_stop returns them where the
 * image can know them, else 0; then whoever runs the image knows. */
void port_begin(void);
uint32_t port_stop(void);

#endif
