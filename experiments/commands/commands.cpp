#include "experiments/commands/commands.hpp"

namespace ospsim {

const std::vector<Command>& commands() {
  static const std::vector<Command> all{reproduce_command(), layout_command(), reach_command(),
                                        recall_command(),    attend_command(), codec_command(),
                                        quantize_command(),  comm_command(),   run_command(),
                                        show_command(),      list_command(),   doctor_command()};
  return all;
}

}  // namespace ospsim
