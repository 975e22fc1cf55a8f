if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# Every room's library links this: include paths start at the top of the tree, and no instruction set
# beyond the baseline is asked for; kernels choose theirs at run time.
add_library(ospsim_options INTERFACE)
target_include_directories(ospsim_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
             -Wold-style-cast -Woverloaded-virtual -Wno-missing-field-initializers)
if(OSPSIM_WARNINGS_AS_ERRORS)
  list(APPEND warnings -Werror)
endif()
target_compile_options(ospsim_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
# Kernels call what the standard library declares constexpr: std::bit_cast.
target_compile_options(ospsim_options INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>")

if(OSPSIM_SANITIZE)
  target_compile_options(ospsim_options INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${OSPSIM_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>")
  target_link_options(ospsim_options INTERFACE -fsanitize=${OSPSIM_SANITIZE})
endif()
