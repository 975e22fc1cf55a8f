# Headers that say what a program was built from: generated/build_info.hpp when the tree is configured,
# generated/git_state.hpp at every build (it is rewritten only when it changes). Link ospsim_build_info.
string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
string(STRIP "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}}" OSPSIM_COMPILER_FLAGS)
if(OSPSIM_SANITIZE)
  string(APPEND OSPSIM_COMPILER_FLAGS " -fsanitize=${OSPSIM_SANITIZE}")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_info.hpp.in
               ${PROJECT_BINARY_DIR}/generated/build_info.hpp @ONLY)

set(git_header ${PROJECT_BINARY_DIR}/generated/git_state.hpp)
add_custom_target(ospsim_git_state
  COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR}
          -DTEMPLATE=${CMAKE_CURRENT_LIST_DIR}/git_state.hpp.in -DHEADER=${git_header}
          -P ${CMAKE_CURRENT_LIST_DIR}/GitState.cmake
  BYPRODUCTS ${git_header}
  COMMENT "" VERBATIM)
add_library(ospsim_build_info INTERFACE)
target_include_directories(ospsim_build_info INTERFACE ${PROJECT_BINARY_DIR}/generated)
add_dependencies(ospsim_build_info ospsim_git_state)
