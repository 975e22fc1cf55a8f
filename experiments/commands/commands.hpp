#pragma once

#include "experiments/cli/command.hpp"

namespace ospsim {

Command layout_command();
Command reach_command();
Command recall_command();
Command attend_command();
Command codec_command();
Command quantize_command();
Command comm_command();
Command run_command();
Command reproduce_command();
Command show_command();
Command list_command();
Command doctor_command();

}  // namespace ospsim
