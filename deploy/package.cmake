# Debian packages: `cpack -G DEB` in the build folder, or ./dev package. Included at the end, when all is said of what is
# installed.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME boskosd)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "boskosd <boskosd@localhost>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
# Installed as into the root of a system, for files in /etc.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
  WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/deploy/debian/finish.cmake)
set(CPACK_BOSKOS_DEBIAN ${PROJECT_SOURCE_DIR}/deploy/debian)

set(CPACK_COMPONENTS_ALL boskosd)
if(BOSKOS_CLIENT)
  list(APPEND CPACK_COMPONENTS_ALL boskos-tools libboskos0 libboskos-dev python3-boskos)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

# boskos_package(NAME SECTION SUMMARY DESCRIPTION [KEY VALUE]...): more keys are CPack's, without what they begin with.
macro(boskos_package name section summary description)
  string(TOUPPER ${name} component)
  set(CPACK_DEBIAN_${component}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${component}_PACKAGE_SECTION ${section})
  set(CPACK_COMPONENT_${component}_DESCRIPTION "${summary}\n${description}")
  set(rest ${ARGN})
  while(rest)
    list(POP_FRONT rest key value)
    set(CPACK_DEBIAN_${component}_PACKAGE_${key} "${value}")
  endwhile()
  get_property(files GLOBAL PROPERTY boskos_conffiles_${name})
  if(files)
    list(TRANSFORM files APPEND "\n")
    list(JOIN files "" files)
    file(WRITE ${PROJECT_BINARY_DIR}/deploy/${name}/conffiles "${files}")
  endif()
  file(GLOB scripts ${PROJECT_SOURCE_DIR}/deploy/debian/${name}/* ${PROJECT_BINARY_DIR}/deploy/${name}/*)
  set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA ${scripts})
endmacro()

boskos_package(boskosd net "hands out shared resources to CI jobs, as Boskos does"
  "boskosd hands out things that one job at a time may use: cloud projects,
accounts, clusters, machines. It speaks the HTTP protocol of Kubernetes' Boskos
and keeps every decision in a journal on the disk, which boskos-replay reads."
  RECOMMENDS boskos-tools)
boskos_package(boskos-tools net "client and helpers of Boskos and boskosd"
  "boskosctl for people and scripts, and the programs around the server: reaper,
janitor, mason, cleaner, exporter of metrics, and a checker of config files.
They work with boskosd and with an original Boskos server."
  RECOMMENDS ca-certificates)
# Who links it needs at least this version. (CPack could write this file, and would call ldconfig, which is a trigger's.)
file(WRITE ${PROJECT_BINARY_DIR}/deploy/libboskos0/shlibs "libboskos 0 libboskos0 (>= ${PROJECT_VERSION})\n")
boskos_package(libboskos0 libs "client library of Boskos and boskosd"
  "For programs in C that take and give back resources of a Boskos server."
  RECOMMENDS ca-certificates MULTIARCH same)
boskos_package(libboskos-dev libdevel "client library of Boskos and boskosd, files for development"
  "Header, static library, manual page, and files for pkg-config and CMake."
  DEPENDS "libboskos0 (= ${PROJECT_VERSION}), libcurl4-openssl-dev | libcurl-dev, libjansson-dev, libyaml-dev" MULTIARCH same)
boskos_package(python3-boskos python "client of Boskos and boskosd for Python"
  "Takes and gives back resources of a Boskos server, with heartbeats meanwhile."
  DEPENDS "python3 (>= 3.9)" ARCHITECTURE all)
include(CPack)
